#pragma once
#include <ATen/core/Tensor.h>

#include "plait/models/layers/module.h"

namespace plait::models {

/// How usual a feature vector is: a class-conditional Gaussian with one shared covariance (Lee et
/// al. 2018, https://arxiv.org/abs/1807.03888) over the first principal components, and one more
/// coordinate for what these leave out. Everything is a buffer: fitted once in closed form, saved
/// with the model. Thread-safe after fitting.
class ClassDensity : public Module {
 public:
  /// `width` D of the features, `components` P at most min(D, 64), `classes` K, `reference` R: the
  /// number of quantiles kept for p-values.
  ClassDensity(int64_t width, int64_t components, int64_t classes, int64_t reference = 256);

  /// x [N, D] standardised features, target [N] in [0, K).
  /// @throws Error kInvalidArgument for fewer than 2 rows or values that are not finite.
  void fit(const at::Tensor& x, const at::Tensor& target);
  /// [N, D] → [N, P + 1]: principal components and the norm of what they leave out, each with unit
  /// deviation.
  at::Tensor coordinates(const at::Tensor& x) const;
  int64_t coordinate_count() const { return scale_.size(0); }
  /// [N, D] → [N]: Mahalanobis distance to the nearest class.
  at::Tensor distance(const at::Tensor& x) const;
  /// Keeps the distances of clean rows that `fit` has not seen as reference for p-values, and
  /// `limit` (the largest distance at which an input was still useful).
  void set_reference(const at::Tensor& clean_distances, double limit);
  /// Conformal p-value of each distance: the share of clean rows at least as far away, never 0.
  at::Tensor p_value(const at::Tensor& distance) const;
  /// log(distance / the median of the reference), at most 3 either way: tells far from very far
  /// where p-values have long reached their least.
  at::Tensor unusual(const at::Tensor& distance) const;
  /// max(0, log(distance / limit)).
  at::Tensor excess(const at::Tensor& distance) const;

 private:
  at::Tensor center_, components_, scale_, class_means_, whitening_, reference_, limit_;
};

}  // namespace plait::models
