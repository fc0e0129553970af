#pragma once
#include <memory>
#include <string>

#include "plait/models/fused_network.h"
#include "plait/train/trainable.h"

namespace plait::api {

/// A FusedNetwork as the Trainer sees it: the loss of its tasks; the log gets each stream's mean
/// weight, and evaluation gives loss, accuracy, ece ... of the first classification task
/// ("<task>/accuracy" for further ones), and "weight_entropy": how evenly the fusion weighs the
/// streams of items that have several, from 0 (all on one: then a warning is logged, once) to 1.
class FusedTrainable : public train::Trainable {
 public:
  explicit FusedTrainable(std::shared_ptr<models::FusedNetwork> network)
      : network_(std::move(network)) {}
  models::Module& module() override { return *network_; }
  void set_training(bool on) override { network_->train_mode(on); }
  train::LossOutput loss(const Batch& batch) override;
  train::Scalars evaluate(train::BatchSource& source, int64_t batch_size) override;

 private:
  void watch_weights(const struct Answers& answers, train::Scalars& out);

  std::shared_ptr<models::FusedNetwork> network_;
  bool warned_ = false;
};

/// Everything that a network says of a source, item by item, in eval mode without gradients. Items
/// without any stream are left out; when all are, the tensors are undefined.
struct Answers {
  std::map<std::string, TensorMap> tasks;  ///< Outputs of each task, [N, ...], float32 on the CPU
  std::map<std::string, at::Tensor> experts;  ///< [N, M, K] of classification tasks
  at::Tensor weights, present, quality;       ///< [N, M]
  at::Tensor rows;                            ///< [N] int64 which items of the source they are
  TensorMap targets;
  std::map<std::string, at::Tensor> pooled;  ///< By stream [N, De]: what its encoder gave
};
Answers answer_all(models::FusedNetwork& network, train::BatchSource& source,
                   int64_t batch_size = 64);

}  // namespace plait::api
