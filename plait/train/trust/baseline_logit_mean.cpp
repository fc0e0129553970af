#include <ATen/ATen.h>

#include "plait/train/trust/baseline_network.h"
#include "plait/train/trust/baselines_joint.h"

namespace plait::train {
namespace {

class LogitMean : public ViewClassifier {
 public:
  LogitMean(const TrustData& train, int64_t classes, const BaselineOptions& options)
      : networks(train, classes, options) {
    widths_ = train.widths();
  }
  at::Tensor logits(const ViewItems& items) const {
    return mean_over_views(networks.logits(items), items.present);
  }
  ViewNetworks networks;

 protected:
  at::Tensor fuse(const ViewItems& items) const override {
    return at::log_softmax(logits(items), 1);
  }
};

}  // namespace

std::shared_ptr<ViewClassifier> fit_logit_mean(const TrustData& train, const TrustData& validation,
                                               int64_t classes, const BaselineOptions& options) {
  check_baseline(train, validation, classes);
  auto model = std::make_shared<LogitMean>(train, classes, options);
  train_baseline(model->networks, *model, train, validation, options, [&](const ViewBatch& batch) {
    return at::cross_entropy_loss(model->logits(batch), batch.target);
  });
  return model;
}

}  // namespace plait::train
