#include "plait/models/trust/value_grid.h"

#include <ATen/ATen.h>

#include "plait/core/error.h"
#include "plait/models/trust/questions.h"

namespace plait::models {
namespace {

constexpr double kTail = 0.05;   ///< What lies outside of the middle nine tenths, on either side
constexpr double kLongTail = 3;  ///< Widths of the middle that the grid reaches beyond it
constexpr double kMargin = 0.5;  ///< Bins beyond the outermost targets
constexpr double kLeastLogVariance = -9, kMostLogVariance = 4;

/// Shares of each density below the edges: [B, R, C + 1], the last exactly 1.
at::Tensor cumulate(const at::Tensor& log_probabilities, int64_t values) {
  at::Tensor p = log_probabilities.to(at::kDouble).exp().unflatten(-1, {values, -1});
  at::Tensor sum = p.cumsum(-1);
  sum = sum / sum.narrow(-1, sum.size(-1) - 1, 1);
  return at::cat({at::zeros_like(sum.narrow(-1, 0, 1)), sum}, -1);
}

}  // namespace

ValueGrid::ValueGrid(int64_t values, int64_t bins) : values_(values), bins_(bins) {
  require(values >= 1 && bins >= 4, "trust", "expected a value and at least 4 bins");
  location_ = add_buffer("location", at::zeros({values}));
  scale_ = add_buffer("scale", at::ones({values}));
  low_ = add_buffer("low", at::full({values}, -3.0));
  step_ = add_buffer("step", at::full({values}, 6.0 / static_cast<double>(bins)));
}

void ValueGrid::fit(const at::Tensor& y) {
  require(y.dim() == 2 && y.size(0) >= 2 && y.size(1) == values_ && y.isfinite().all().item<bool>(),
          "trust", "expected at least two rows of finite values");
  at::NoGradGuard no_grad;
  at::Tensor rows = y.to(at::kCPU, at::kDouble);
  at::Tensor spread = rows.std(0, /*unbiased=*/false);
  require((spread > 1e-12 * (1 + rows.abs().amax(0))).all().item<bool>(), "trust",
          "expected values that are not all alike");
  location_.copy_(rows.mean(0));
  scale_.copy_(spread);
  at::Tensor z = standardise(y).to(at::kDouble);
  at::Tensor from = at::quantile(z, kTail, 0), to = at::quantile(z, 1 - kTail, 0);
  at::Tensor reach = kLongTail * (to - from).clamp_min(0.1);
  at::Tensor low = at::maximum(z.amin(0), from - reach), high = at::minimum(z.amax(0), to + reach);
  at::Tensor step = (high - low) / (static_cast<double>(bins_) - 2 * kMargin);
  low_.copy_(low - kMargin * step);
  step_.copy_(step);
}

at::Tensor ValueGrid::standardise(const at::Tensor& y) const {
  return ((y.to(at::kDouble) - location_) / scale_).to(at::kFloat);
}

at::Tensor ValueGrid::edges() const {
  at::Tensor place = at::arange(bins_ + 1, at::kDouble);
  at::Tensor z = low_.to(at::kDouble).unsqueeze(1) + step_.to(at::kDouble).unsqueeze(1) * place;
  return z * scale_.unsqueeze(1) + location_.unsqueeze(1);
}

at::Tensor ValueGrid::bins_of(const at::Tensor& y) const {
  at::Tensor place =
      ((standardise(y) - low_) / step_).floor().clamp(0, static_cast<double>(bins_) - 1);
  at::Tensor out = place.to(at::kLong);
  return values_ == 1 ? out.squeeze(1) : out;
}

at::Tensor ValueGrid::middles_of(const at::Tensor& bins) const {
  at::Tensor place = bins.dim() == 1 ? bins.unsqueeze(1) : bins;
  return low_ + step_ * (place.to(at::kFloat) + 0.5);
}

at::Tensor ValueGrid::gaussian(const at::Tensor& mean, const at::Tensor& log_variance) const {
  at::Tensor middle =
      low_.unsqueeze(1) + step_.unsqueeze(1) * (at::arange(bins_, at::kFloat) + 0.5);
  at::Tensor variance =
      log_variance.clamp(kLeastLogVariance, kMostLogVariance).exp() + step_.square() / 12;
  at::Tensor off = middle - mean.unsqueeze(-1);
  return (-0.5 * off.square() / variance.unsqueeze(-1)).flatten(1);
}

at::Tensor ValueGrid::mean(const at::Tensor& log_probabilities) const {
  at::Tensor e = edges();
  at::Tensor middle = (e.narrow(1, 0, bins_) + e.narrow(1, 1, bins_)) / 2;
  at::Tensor p = log_probabilities.to(at::kDouble).exp().unflatten(-1, {values_, bins_});
  return (p * middle).sum(-1);
}

at::Tensor ValueGrid::deviation(const at::Tensor& log_probabilities) const {
  at::Tensor e = edges();
  at::Tensor middle = (e.narrow(1, 0, bins_) + e.narrow(1, 1, bins_)) / 2;
  at::Tensor p = log_probabilities.to(at::kDouble).exp().unflatten(-1, {values_, bins_});
  at::Tensor off = middle - mean(log_probabilities).unsqueeze(-1);
  at::Tensor width = (step_ * scale_).to(at::kDouble);
  return ((p * off.square()).sum(-1) + width.square() / 12).sqrt();
}

at::Tensor ValueGrid::quantile(const at::Tensor& log_probabilities, const at::Tensor& level) const {
  at::Tensor below = cumulate(log_probabilities, values_);
  at::Tensor inside = level.to(at::kDouble).clamp(0, 1);
  at::Tensor bin =
      at::searchsorted(below.contiguous(), inside.unsqueeze(-1).contiguous()).clamp(1, bins_);
  at::Tensor from = below.gather(-1, bin - 1), to = below.gather(-1, bin);
  at::Tensor part = ((inside.unsqueeze(-1) - from) / (to - from).clamp_min(1e-300)).clamp(0, 1);
  at::Tensor e = edges(), width = (step_ * scale_).to(at::kDouble).unsqueeze(-1);
  at::Tensor place = (bin - 1).to(at::kDouble) + part;
  at::Tensor beyond = (level.to(at::kDouble) - inside).unsqueeze(-1) * static_cast<double>(bins_);
  return (e.narrow(1, 0, 1) + width * (place + beyond)).squeeze(-1);
}

at::Tensor ValueGrid::share_below(const at::Tensor& log_probabilities, const at::Tensor& y) const {
  at::Tensor below = cumulate(log_probabilities, values_);
  at::Tensor width = (step_ * scale_).to(at::kDouble);
  at::Tensor place = (y.to(at::kDouble) - edges().select(1, 0)) / width;
  at::Tensor inside = place.clamp(0, static_cast<double>(bins_));
  at::Tensor bin = inside.floor().clamp_max(static_cast<double>(bins_) - 1);
  at::Tensor index = bin.to(at::kLong).unsqueeze(-1);
  at::Tensor from = below.gather(-1, index), to = below.gather(-1, index + 1);
  at::Tensor share = from + (to - from) * (inside - bin).unsqueeze(-1);
  return share.squeeze(-1) + (place - inside) / static_cast<double>(bins_);
}

at::Tensor ValueGrid::share_near_mean(const at::Tensor& log_probabilities,
                                      double half_width) const {
  at::Tensor middle = mean(log_probabilities), reach = half_width * scale_.to(at::kDouble);
  return (share_below(log_probabilities, middle + reach) -
          share_below(log_probabilities, middle - reach))
      .clamp(0, 1);
}

}  // namespace plait::models
