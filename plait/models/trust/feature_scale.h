#pragma once
#include <ATen/core/Tensor.h>

#include "plait/models/layers/module.h"

namespace plait::models {

/// Standardises columns by the mean and deviation of training rows. Both are buffers: 0 and 1 until
/// they are fitted. Thread-safe after fitting.
class FeatureScale : public Module {
 public:
  explicit FeatureScale(int64_t width);
  /// Takes mean and deviation of the columns of x [N, D]; a column that never changes keeps 1.
  void fit(const at::Tensor& x);
  /// [B, D] → [B, D]. @throws Error kInvalidArgument for another width.
  at::Tensor operator()(const at::Tensor& x) const;
  /// The same within ±100: a value a hundred deviations away is broken, and unbounded it would
  /// drown all others.
  at::Tensor bounded(const at::Tensor& x) const;

 private:
  at::Tensor mean_, deviation_;
};

/// Features [B, D] of one stream in float32, 0 where `present` [B, M] says that it is absent,
/// whatever stands there (NaN included).
at::Tensor where_present(const at::Tensor& x, const at::Tensor& present, size_t stream);

}  // namespace plait::models
