#include <ATen/ATen.h>

#include "plait/train/trust/baseline_network.h"
#include "plait/train/trust/baselines_dynamic.h"

namespace plait::train {
namespace {

constexpr double kLeastConfidence = 1e-6;

/// Predicts how probable the true class is from a view's last hidden layer, [B, H] → [B]: three
/// linear layers and a sigmoid, as the authors' own.
class ConfidenceNetwork : public models::Module {
 public:
  explicit ConfidenceNetwork(int64_t width) {
    up_ = add<models::Linear>("up", width, 2 * width);
    down_ = add<models::Linear>("down", 2 * width, width);
    output_ = add<models::Linear>("output", width, 1);
  }
  at::Tensor operator()(const at::Tensor& x) const {
    return at::sigmoid((*output_)((*down_)((*up_)(x)))).squeeze(1);
  }

 private:
  std::shared_ptr<models::Linear> up_, down_, output_;
};

class Network : public models::Module {
 public:
  Network(const TrustData& train, int64_t classes, const PdfOptions& options) {
    views = add<ViewNetworks>("views", train, classes, options);
    confidence = add<models::ModuleList<ConfidenceNetwork>>("confidence");
    for (size_t m = 0; m < views->size(); ++m) confidence->append<>(views->last_width(m));
  }
  struct Out {
    at::Tensor logits;      ///< [B, M, K]
    at::Tensor confidence;  ///< [B, M]
  };
  Out operator()(const std::vector<at::Tensor>& features) const {
    std::vector<at::Tensor> logits, certain;
    for (size_t m = 0; m < features.size(); ++m) {
      ViewNetwork::Out view = (*views)(m, features[m]);
      logits.push_back(view.logits);
      certain.push_back((*confidence)[m](view.last.detach()));
    }
    return {at::stack(logits, 1), at::stack(certain, 1)};
  }
  std::shared_ptr<ViewNetworks> views;
  std::shared_ptr<models::ModuleList<ConfidenceNetwork>> confidence;
};

/// [B, M]: how far a view's probabilities are from even, against the mean of the other views'; at
/// most 1.
at::Tensor relative_calibration(const at::Tensor& logits, const at::Tensor& here) {
  const double even = 1.0 / static_cast<double>(logits.size(2));
  at::Tensor distance = (at::softmax(logits, 2) - even).abs().mean(2) * here;
  at::Tensor others = (distance.sum(1, true) - distance) / (here.sum(1, true) - here).clamp_min(1);
  return at::where(others > 0, distance / others.clamp_min(1e-12), at::ones_like(others))
      .clamp_max(1);
}

/// [B, M] weights that sum to 1 over the present views.
at::Tensor weights(const Network::Out& out, const at::Tensor& present, bool calibrated) {
  at::Tensor here = present.to(at::kFloat);
  at::Tensor mono = out.confidence.detach().clamp(kLeastConfidence, 1 - kLeastConfidence);
  at::Tensor loss = -mono.log() * here;
  at::Tensor total = loss.sum(1, true).clamp_min(1e-12);
  at::Tensor belief = mono + (total - loss) / total;
  if (calibrated) belief = belief * relative_calibration(out.logits.detach(), here);
  // −1e9 and not −∞: an item may have no view at all.
  return at::softmax(belief.masked_fill(present.logical_not(), -1e9), 1) * here;
}

at::Tensor combine(const Network::Out& out, const at::Tensor& weight) {
  return (out.logits * weight.unsqueeze(2)).sum(1);
}

class Pdf : public ViewClassifier {
 public:
  Pdf(const TrustData& train, int64_t classes, const PdfOptions& options)
      : network(train, classes, options) {
    widths_ = train.widths();
  }
  Network network;

 protected:
  at::Tensor fuse(const ViewItems& items) const override {
    Network::Out out = network(items.features);
    return at::log_softmax(combine(out, weights(out, items.present, /*calibrated=*/true)), 1);
  }
};

}  // namespace

std::shared_ptr<ViewClassifier> fit_pdf(const TrustData& train, const TrustData& validation,
                                        int64_t classes, const PdfOptions& options) {
  check_baseline(train, validation, classes);
  auto model = std::make_shared<Pdf>(train, classes, options);
  train_baseline(model->network, *model, train, validation, options, [&](const ViewBatch& batch) {
    Network::Out out = model->network(batch.features);
    at::Tensor losses = view_losses(out.logits, batch.target);
    at::Tensor fused = combine(out, weights(out, batch.present, /*calibrated=*/false));
    at::Tensor miss = (out.confidence - losses.detach().neg().exp()).abs();
    return at::cross_entropy_loss(fused, batch.target) + mean_of_present(losses, batch.present) +
           options.confidence_weight * mean_of_present(miss, batch.present);
  });
  return model;
}

}  // namespace plait::train
