#pragma once
#include "plait/models/model.h"

namespace plait::models {

/// A task's output layer over the fused feature [B, D] (input "features").
class Head : public Model {
 public:
  /// Named outputs, e.g. logits [B, K]; mean and log_variance [B, R]; embedding [B, E].
  TensorMap forward(const TensorMap& inputs) override = 0;
  /// Mean loss over the items; `outputs` as forward gave them. Items without a label (class -1,
  /// value NaN) do not count.
  virtual at::Tensor loss(const TensorMap& outputs, const at::Tensor& target) const = 0;
};

}  // namespace plait::models
