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
  /// P + 1 for such features.
  static int64_t coordinate_count(int64_t width, int64_t components);
  /// [N, D] → [N]: Mahalanobis distance to the nearest class.
  at::Tensor distance(const at::Tensor& x) const { return distance_of(coordinates(x)); }
  /// The same of coordinates [N, P + 1].
  at::Tensor distance_of(const at::Tensor& coordinates) const;
  /// Log density [N] of coordinates, all classes alike, without the constant of 2π.
  at::Tensor log_density(const at::Tensor& coordinates) const;
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
  /// [N, P + 1] → [N, K] Mahalanobis distances.
  at::Tensor to_classes(const at::Tensor& coordinates) const;

  at::Tensor center_, components_, scale_, class_means_, whitening_, log_volume_, reference_,
      limit_;
};

}  // namespace plait::models
