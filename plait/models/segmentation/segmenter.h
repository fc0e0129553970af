#pragma once
#include <ATen/core/Tensor.h>

#include "plait/models/model.h"

namespace plait::models {

/// A network that gives every pixel or voxel a class. forward takes pixel_values [B, C, H, W] (or
/// voxel_values [B, C, D, H, W]) and gives logits [B, K, H, W] ([B, K, D, H, W]).
class Segmenter : public Model {
 public:
  virtual int64_t classes() const = 0;
  /// segmentation_loss with the model's own weights. `target` [B, H, W] ([B, D, H, W]) int64.
  virtual at::Tensor loss(const TensorMap& outputs, const at::Tensor& target) const = 0;
  /// The most likely class of every place, [B, H, W] int64. Call it in eval mode.
  at::Tensor segment(const TensorMap& inputs);
};

/// Cross-entropy plus `dice_weight` times the soft Dice loss (Milletari et al. 2016, "V-Net",
/// https://arxiv.org/abs/1606.04797), 1 − (2 Σpt + ε) / (Σp + Σt + ε) with ε = 1e-5 for each item
/// and class, then the mean. logits [B, K, ...], target [B, ...] int64; places with a target of −1
/// do not count (0 when there is none).
/// @throws Error kInvalidArgument for shapes that do not match and for classes out of range.
at::Tensor segmentation_loss(const at::Tensor& logits, const at::Tensor& target,
                             double dice_weight = 1.0);

}  // namespace plait::models
