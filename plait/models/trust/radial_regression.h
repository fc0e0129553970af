#pragma once
#include <ATen/core/Tensor.h>

#include <functional>

#include "plait/models/layers/module.h"

namespace plait::models {

/// Ridge regression on radial basis functions around L landmarks l_i (subset of regressors;
/// Poggio & Girosi 1990, Quiñonero-Candela & Rasmussen 2005):
///
///   f(x) = μ + Σ_i w_i k_i(x),  k_i(x) = exp(−γ |x − l_i|²),
///   w = (KᵀK + ρ K_LL)⁻¹ Kᵀ(y − μ)
///
/// Far from everything it was fitted on f returns to μ: a loud input says nothing instead of
/// something extreme. The fit is in closed form, and so is what every row would have got had it not
/// been fitted on. Everything is a buffer. Thread-safe after fitting.
class RadialRegression : public Module {
 public:
  /// `width` D, `outputs` O, `landmarks` L at most.
  RadialRegression(int64_t width, int64_t outputs, int64_t landmarks);

  /// Kernel width and ridge.
  struct Shape {
    double gamma = 1, ridge = 0.1;
  };
  /// x [N, D], y [N, O]; landmarks are rows drawn by the seed.
  /// @return [N, O]: what each row is predicted from all others.
  at::Tensor fit(const at::Tensor& x, const at::Tensor& y, const Shape& shape, uint64_t seed);
  /// [B, D] → [B, O]
  at::Tensor operator()(const at::Tensor& x) const;
  /// [B]: the kernel to the nearest landmark, 1 at it and 0 far from all; `but_self` leaves out one
  /// at no distance.
  at::Tensor nearness(const at::Tensor& x, bool but_self = false) const;

 private:
  at::Tensor gram(const at::Tensor& x) const;
  at::Tensor gamma_, landmarks_, weight_, mean_;
};

/// The shape whose left-one-out predictions of y [N, O] `loss` likes best, among kernel widths
/// around the median distance and ridges from 0.01 to 0.3.
RadialRegression::Shape choose_radial_shape(
    const at::Tensor& x, const at::Tensor& y,
    const std::function<double(const at::Tensor& left_out)>& loss);

}  // namespace plait::models
