#include <ATen/ATen.h>

#include "plait/core/error.h"
#include "plait/models/fusion/streams.h"
#include "plait/train/trust/baseline_network.h"
#include "plait/train/trust/baselines_joint.h"

namespace plait::train {
namespace {

class Network : public models::Module {
 public:
  Network(const TrustData& train, int64_t classes, const MbtOptions& options) : options_(options) {
    scales_ = add<ViewScales>("scales", train, options);
    input_dropout_ = add<models::Dropout>("input_dropout", options.input_dropout);
    tokens_ = add<models::ModuleList<models::Linear>>("tokens");
    layers_ = add<models::ModuleList<Layers>>("layers");
    norms_ = add<models::ModuleList<models::LayerNorm>>("norms");
    heads_ = add<models::ModuleList<models::Linear>>("heads");
    const auto views = static_cast<int64_t>(train.features.size());
    class_tokens_ = add_parameter("class_tokens", at::zeros({views, options.width}));
    bottlenecks_ = add_parameter("bottlenecks", at::zeros({options.bottlenecks, options.width}));
    for (int64_t width : train.widths()) {
      tokens_->append<>(width, options.tokens * options.width);
      auto own = layers_->append<>();
      for (int64_t i = 0; i < options.fusion_layers; ++i)
        own->append<>(options.width, options.heads, 2 * options.width, options.dropout);
      norms_->append<>(options.width);
      heads_->append<>(options.width, classes);
    }
  }

  void reset_parameters(at::Generator& generator) override {
    class_tokens_.normal_(0, 0.02, generator);
    bottlenecks_.normal_(0, 0.02, generator);
  }

  /// [B, K]
  at::Tensor operator()(const ViewItems& items) const {
    const int64_t batch = items.present.size(0), own = options_.tokens + 1;
    std::vector<at::Tensor> z;
    for (size_t m = 0; m < items.features.size(); ++m) {
      at::Tensor x = (*input_dropout_)((*scales_)(m, items.features[m]));
      at::Tensor tokens = (*tokens_)[m](x).view({batch, options_.tokens, options_.width});
      at::Tensor first = class_tokens_[static_cast<int64_t>(m)].expand({batch, 1, options_.width});
      z.push_back(at::cat({first, tokens}, 1));
    }
    at::Tensor shared = bottlenecks_.expand({batch, options_.bottlenecks, options_.width});
    // Of the last layer the class tokens alone are read.
    for (int64_t i = 0; i < options_.fusion_layers - 1; ++i) {
      std::vector<at::Tensor> updates;
      for (size_t m = 0; m < z.size(); ++m) {
        at::Tensor both = layer(m, i)(at::cat({z[m], shared}, 1), {});
        z[m] = both.slice(1, 0, own);
        updates.push_back(both.slice(1, own));
      }
      shared = mean_over_views(at::stack(updates, 1), items.present);
    }
    std::vector<at::Tensor> logits;
    for (size_t m = 0; m < z.size(); ++m) {
      at::Tensor last = layer(m, options_.fusion_layers - 1).first(at::cat({z[m], shared}, 1));
      logits.push_back((*heads_)[m]((*norms_)[m](last.select(1, 0))));
    }
    return mean_over_views(at::stack(logits, 1), items.present);
  }

 private:
  using Layers = models::ModuleList<models::TransformerLayer>;
  const models::TransformerLayer& layer(size_t view, int64_t i) const {
    return (*layers_)[view][static_cast<size_t>(i)];
  }

  MbtOptions options_;
  std::shared_ptr<ViewScales> scales_;
  std::shared_ptr<models::Dropout> input_dropout_;
  std::shared_ptr<models::ModuleList<models::Linear>> tokens_, heads_;
  std::shared_ptr<models::ModuleList<Layers>> layers_;
  std::shared_ptr<models::ModuleList<models::LayerNorm>> norms_;
  at::Tensor class_tokens_, bottlenecks_;
};

class Mbt : public ViewClassifier {
 public:
  Mbt(const TrustData& train, int64_t classes, const MbtOptions& options)
      : network(train, classes, options) {
    widths_ = train.widths();
  }
  Network network;

 protected:
  at::Tensor fuse(const ViewItems& items) const override {
    return at::log_softmax(network(items), 1);
  }
};

}  // namespace

std::shared_ptr<ViewClassifier> fit_mbt(const TrustData& train, const TrustData& validation,
                                        int64_t classes, const MbtOptions& options) {
  check_baseline(train, validation, classes);
  require(options.tokens > 0 && options.bottlenecks > 0 && options.width > 0 && options.heads > 0 &&
              options.width % options.heads == 0 && options.fusion_layers > 0,
          "baselines", "expected positive sizes and a width that is a multiple of the heads");
  auto model = std::make_shared<Mbt>(train, classes, options);
  train_baseline(model->network, *model, train, validation, options, [&](const ViewBatch& batch) {
    return at::cross_entropy_loss(model->network(batch), batch.target);
  });
  return model;
}

}  // namespace plait::train
