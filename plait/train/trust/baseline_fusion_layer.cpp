#include <ATen/ATen.h>

#include "plait/core/error.h"
#include "plait/models/fusion/fusion.h"
#include "plait/models/registry.h"
#include "plait/train/trust/baseline_network.h"
#include "plait/train/trust/baselines_joint.h"

namespace plait::train {
namespace {

class Network : public models::Module {
 public:
  Network(const TrustData& train, int64_t classes, Json fusion, const FusionLayerOptions& options) {
    views_ = add<ViewNetworks>("views", train, options.width, options);
    fusion["streams"] = views_->size();
    fusion["width"] = options.width;
    fusion_ = add_child("fusion", models::create_as<models::Fusion>(fusion, "fusion"));
    dropout_ = add<models::Dropout>("dropout", options.dropout);
    head_ = add<models::Linear>("head", options.width, classes);
    require(!fusion_->fuses_decisions(), "baselines",
            "expected a fusion of features, got one of decisions");
  }
  struct Out {
    at::Tensor logits;     ///< [B, K]
    at::Tensor auxiliary;  ///< [B] or undefined
  };
  Out operator()(const ViewItems& items) const {
    models::FusionInput in;
    in.features = views_->logits(items);
    // Fusion layers refuse an item without any view; its answer is not looked at.
    in.present = items.present.logical_or(items.present.any(1, true).logical_not());
    in.quality = items.quality;
    models::FusionOutput out = fusion_->fuse(in);
    return {(*head_)((*dropout_)(out.fused)), out.auxiliary};
  }

 private:
  std::shared_ptr<ViewNetworks> views_;
  std::shared_ptr<models::Fusion> fusion_;
  std::shared_ptr<models::Dropout> dropout_;
  std::shared_ptr<models::Linear> head_;
};

class FusionLayer : public ViewClassifier {
 public:
  FusionLayer(const TrustData& train, int64_t classes, const Json& fusion,
              const FusionLayerOptions& options)
      : network(train, classes, fusion, options) {
    widths_ = train.widths();
  }
  Network network;

 protected:
  at::Tensor fuse(const ViewItems& items) const override {
    return at::log_softmax(network(items).logits, 1);
  }
};

}  // namespace

std::shared_ptr<ViewClassifier> fit_fusion_layer(const TrustData& train,
                                                 const TrustData& validation, int64_t classes,
                                                 const Json& fusion,
                                                 const FusionLayerOptions& options) {
  check_baseline(train, validation, classes);
  auto model = std::make_shared<FusionLayer>(train, classes, fusion, options);
  train_baseline(model->network, *model, train, validation, options, [&](const ViewBatch& batch) {
    Network::Out out = model->network(batch);
    at::Tensor loss = at::cross_entropy_loss(out.logits, batch.target);
    return out.auxiliary.defined() ? loss + out.auxiliary.mean() : loss;
  });
  return model;
}

}  // namespace plait::train
