#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include "plait/core/error.h"
#include "plait/core/hash.h"
#include "plait/train/trust/baseline_network.h"
#include "plait/train/trust/baselines_joint.h"

namespace plait::train {
namespace {

class OgmGe : public ViewClassifier {
 public:
  OgmGe(const TrustData& train, int64_t classes, const BaselineOptions& options)
      : networks(train, classes, options) {
    widths_ = train.widths();
  }
  static at::Tensor combine(const at::Tensor& logits, const at::Tensor& present) {
    return (logits * present.to(at::kFloat).unsqueeze(2)).sum(1);
  }
  ViewNetworks networks;

 protected:
  at::Tensor fuse(const ViewItems& items) const override {
    return at::log_softmax(combine(networks.logits(items), items.present), 1);
  }
};

/// [M][...] the weight matrices below each view's last hidden layer.
std::vector<std::vector<at::Tensor>> encoder_weights(const ViewNetworks& networks) {
  std::vector<std::vector<at::Tensor>> out(networks.size());
  for (auto& [name, parameter] : networks.named_parameters()) {
    for (size_t m = 0; m < out.size(); ++m) {
      if (name.rfind("views." + std::to_string(m) + ".hidden.", 0) == 0 && parameter.dim() > 1)
        out[m].push_back(parameter);
    }
  }
  return out;
}

}  // namespace

at::Tensor modulation(const at::Tensor& score, double alpha) {
  const int64_t views = score.size(0);
  if (views < 2) return at::ones_like(score);
  at::Tensor others = (score.sum() - score) / static_cast<double>(views - 1);
  at::Tensor ratio = score / others.clamp_min(1e-12);
  return at::where(ratio > 1, 1 - at::tanh(alpha * ratio), at::ones_like(ratio));
}

std::shared_ptr<ViewClassifier> fit_ogm_ge(const TrustData& train, const TrustData& validation,
                                           int64_t classes, const OgmGeOptions& options) {
  check_baseline(train, validation, classes);
  require(options.alpha >= 0 && options.modulated >= 0 && options.modulated <= 1, "baselines",
          "expected alpha of at least 0 and a share of the epochs");
  auto model = std::make_shared<OgmGe>(train, classes, options);
  const auto weights = encoder_weights(model->networks);
  at::Generator noise = at::detail::createCPUGenerator(mix_seed(options.seed, 5));
  at::Tensor coefficient;
  auto loss = [&](const ViewBatch& batch) {
    at::Tensor logits = model->networks.logits(batch);
    at::Tensor here = batch.present.to(at::kFloat);
    at::Tensor right = view_losses(logits.detach(), batch.target).neg().exp();
    at::Tensor score = (right * here).sum(0) / here.sum(0).clamp_min(1);
    coefficient = modulation(score, options.alpha);
    return at::cross_entropy_loss(OgmGe::combine(logits, batch.present), batch.target);
  };
  auto adjust = [&](const ViewBatch& batch) {
    if (batch.epoch >= options.modulated * static_cast<double>(options.epochs)) return;
    at::NoGradGuard no_grad;
    for (size_t m = 0; m < weights.size(); ++m) {
      at::Tensor k = coefficient[static_cast<int64_t>(m)];
      for (const at::Tensor& weight : weights[m]) {
        at::Tensor g = weight.grad();
        g.copy_(k * g + at::randn(g.sizes(), noise) * (g.std() + 1e-8));
      }
    }
  };
  train_baseline(model->networks, *model, train, validation, options, loss, adjust);
  return model;
}

}  // namespace plait::train
