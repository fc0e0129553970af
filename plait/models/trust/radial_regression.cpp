#include "plait/models/trust/radial_regression.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <limits>

#include "plait/core/error.h"

namespace plait::models {
namespace {

constexpr int64_t kByProducts = 1;  ///< at::cdist's mode
constexpr double kJitter = 1e-6;
constexpr float kSelf = 1 - 1e-5F;       ///< A kernel above it is a row's with itself
constexpr double kLeastLeverage = 1e-3;  ///< Of 1 − h: a row alone in its corner

/// In double precision: weights of hundreds all but cancel out, so that a kernel's seventh digit is
/// a logarithm's fourth.
at::Tensor kernel(const at::Tensor& x, const at::Tensor& around, double gamma) {
  // By products whatever the number of rows: a batch answers like its items.
  at::Tensor apart = at::cdist(x.to(at::kDouble), around.to(at::kDouble), 2.0, kByProducts);
  return (apart.square() * -gamma).exp();
}

/// Predictions of each row without it, from those with it and the rows' leverages h.
at::Tensor leave_out(const at::Tensor& y, const at::Tensor& fitted, const at::Tensor& leverage) {
  return y - (y - fitted) / (1 - leverage).clamp_min(kLeastLeverage).unsqueeze(1);
}

}  // namespace

RadialRegression::RadialRegression(int64_t width, int64_t outputs, int64_t landmarks) {
  gamma_ = add_buffer("gamma", at::ones({}));
  landmarks_ = add_buffer("landmarks", at::zeros({landmarks, width}));
  weight_ = add_buffer("weight", at::zeros({landmarks, outputs}));
  mean_ = add_buffer("mean", at::zeros({outputs}));
}

at::Tensor RadialRegression::gram(const at::Tensor& x) const {
  return kernel(x, landmarks_, gamma_.item<double>());
}

at::Tensor RadialRegression::operator()(const at::Tensor& x) const {
  return at::addmm(mean_.to(at::kDouble), gram(x), weight_.to(at::kDouble)).to(at::kFloat);
}

at::Tensor RadialRegression::nearness(const at::Tensor& x, bool but_self) const {
  // Landmarks that were never set have no weight.
  at::Tensor k = gram(x).to(at::kFloat) * weight_.ne(0).any(1).to(at::kFloat);
  if (but_self) k = at::where(k > kSelf, at::zeros_like(k), k);
  return k.amax(1);
}

at::Tensor RadialRegression::fit(const at::Tensor& x, const at::Tensor& y, const Shape& shape,
                                 uint64_t seed) {
  require(x.dim() == 2 && x.size(0) >= 2 && y.size(0) == x.size(0), "trust",
          "expected at least two rows, each with its target");
  at::NoGradGuard no_grad;
  auto generator = at::detail::createCPUGenerator(seed);
  const int64_t count = std::min(landmarks_.size(0), x.size(0));
  at::Tensor chosen = at::randperm(x.size(0), generator).narrow(0, 0, count);
  at::Tensor around = x.index_select(0, chosen).to(at::kFloat);
  at::Tensor k = kernel(x, around, shape.gamma);
  at::Tensor targets = y.to(at::kDouble), mean = targets.mean(0);
  at::Tensor normal = at::matmul(k.t(), k) + shape.ridge * k.index_select(0, chosen) +
                      kJitter * at::eye(count, k.options());
  at::Tensor root = at::linalg_cholesky(normal);
  at::Tensor weight = at::cholesky_solve(at::matmul(k.t(), targets - mean), root);
  at::Tensor spread = at::linalg_solve_triangular(root, k.t(), /*upper=*/false);
  gamma_.fill_(shape.gamma);
  mean_.copy_(mean);
  landmarks_.zero_();
  weight_.zero_();
  landmarks_.narrow(0, 0, count).copy_(around);
  weight_.narrow(0, 0, count).copy_(weight);
  return leave_out(targets, at::matmul(k, weight) + mean, spread.square().sum(0)).to(at::kFloat);
}

RadialRegression::Shape choose_radial_shape(
    const at::Tensor& x, const at::Tensor& y,
    const std::function<double(const at::Tensor& left_out)>& loss) {
  at::NoGradGuard no_grad;
  at::Tensor squared = at::cdist(x, x).square();
  at::Tensor off = squared.masked_select(squared > 0);
  const double typical = off.numel() > 0 ? std::max(off.median().item<double>(), 1e-12) : 1.0;
  at::Tensor targets = y.to(at::kDouble), mean = targets.mean(0), centred = targets - mean;
  RadialRegression::Shape best;
  double least = std::numeric_limits<double>::infinity();
  for (double width : {0.1, 0.3, 1.0}) {
    auto [values, axes] = at::linalg_eigh((squared * (-width / typical)).exp().to(at::kDouble));
    at::Tensor along = at::matmul(axes.t(), centred);
    for (double ridge : {0.01, 0.03, 0.1, 0.3}) {
      at::Tensor kept = values.clamp_min(0) / (values.clamp_min(0) + ridge);
      at::Tensor fitted = at::matmul(axes, kept.unsqueeze(1) * along);
      at::Tensor left = leave_out(centred, fitted, at::matmul(axes.square(), kept)) + mean;
      const double now = loss(left.to(at::kFloat));
      if (now < least) least = now, best = {width / typical, ridge};
    }
  }
  return best;
}

}  // namespace plait::models
