#include <ATen/ATen.h>

#include "plait/train/trust/baseline_network.h"
#include "plait/train/trust/baselines_joint.h"

namespace plait::train {
namespace {

class Concatenation : public ViewClassifier {
 public:
  Concatenation(const TrustData& train, int64_t classes, const BaselineOptions& options)
      : network(train, classes, options.hidden * static_cast<int64_t>(train.features.size()),
                options) {
    widths_ = train.widths();
  }
  JointNetwork network;

 protected:
  at::Tensor fuse(const ViewItems& items) const override {
    return at::log_softmax(network(items), 1);
  }
};

}  // namespace

std::shared_ptr<ViewClassifier> fit_concatenation(const TrustData& train,
                                                  const TrustData& validation, int64_t classes,
                                                  const BaselineOptions& options) {
  check_baseline(train, validation, classes);
  auto model = std::make_shared<Concatenation>(train, classes, options);
  train_baseline(model->network, *model, train, validation, options, [&](const ViewBatch& batch) {
    return at::cross_entropy_loss(model->network(batch), batch.target);
  });
  return model;
}

}  // namespace plait::train
