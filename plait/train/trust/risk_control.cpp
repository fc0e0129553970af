#include "plait/train/trust/risk_control.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "plait/core/error.h"

namespace plait::train {
namespace {

constexpr double kStarts[] = {2, 6};
constexpr double kStep = 1.1;

/// The z with P(Z > z) = level, by bisection of the error function.
double normal_quantile(double level) {
  double low = -10, high = 10;
  for (int i = 0; i < 100; ++i) {
    const double middle = 0.5 * (low + high);
    (0.5 * std::erfc(middle / std::sqrt(2.0)) > level ? low : high) = middle;
  }
  return high;
}

}  // namespace

double binomial_tail(int64_t errors, int64_t items, double risk) {
  require(items >= 0 && errors >= 0 && errors <= items && risk > 0 && risk < 1, "risk",
          "expected errors among items and a risk between 0 and 1");
  double total = 0;
  const auto n = static_cast<double>(items);
  for (int64_t k = 0; k <= errors; ++k) {
    const auto x = static_cast<double>(k);
    total += std::exp(std::lgamma(n + 1) - std::lgamma(x + 1) - std::lgamma(n - x + 1) +
                      x * std::log(risk) + (n - x) * std::log1p(-risk));
  }
  return std::min(total, 1.0);
}

double certify_abstention(const at::Tensor& confidence, const at::Tensor& wrong, double risk,
                          double delta) {
  require(confidence.dim() == 1 && wrong.sizes() == confidence.sizes(), "risk",
          "expected a confidence and whether it was wrong for every item");
  auto [sorted, order] = confidence.to(at::kDouble).sort(0, /*descending=*/true);
  at::Tensor errors = wrong.index_select(0, order).to(at::kLong).cumsum(0);
  const int64_t n = sorted.size(0);
  double out = 2;
  const double fewest = std::log(delta) / std::log1p(-risk);
  for (double start : kStarts) {
    for (double count = std::ceil(start * fewest); n > 0; count = std::ceil(count * kStep)) {
      int64_t last = std::min(static_cast<int64_t>(count), n) - 1;
      if (count > static_cast<double>(n) && count / kStep > static_cast<double>(n)) break;
      // Items of equal confidence are answered together.
      const double threshold = sorted[last].item<double>();
      while (last + 1 < n && sorted[last + 1].item<double>() == threshold) ++last;
      const double p = binomial_tail(errors[last].item<int64_t>(), last + 1, risk);
      if (p > delta / std::size(kStarts)) break;
      out = std::min(out, threshold);
    }
  }
  return out;
}

PairedBound paired_bound(const at::Tensor& differences, const at::Tensor& item, double level) {
  require(differences.dim() == 1 && item.sizes() == differences.sizes(), "risk",
          "expected a difference and an item for every row");
  PairedBound out;
  if (differences.size(0) == 0) return out;
  auto [names, index, counts] = at::_unique2(item, true, /*return_inverse=*/true, true);
  at::Tensor sums =
      at::zeros({names.size(0)}, at::kDouble).index_add_(0, index, differences.to(at::kDouble));
  at::Tensor means = sums / counts;
  out.items = names.size(0);
  const auto n = static_cast<double>(out.items);
  out.mean = means.mean().item<double>();
  const double variance = out.items > 1 ? means.var().item<double>() : 0;
  out.half_width = normal_quantile(level) * std::sqrt(std::max(variance, 1 / n) / n);
  return out;
}

}  // namespace plait::train
