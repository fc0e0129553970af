#include "plait/models/trust/conformal_intervals.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>

#include "plait/core/error.h"

namespace plait::models {
ConformalIntervals ConformalIntervals::fit(const ValueGrid& grid,
                                           const at::Tensor& log_probabilities, const at::Tensor& y,
                                           const at::Tensor& group) {
  const int64_t n = log_probabilities.size(0);
  require(n > 0 && y.dim() == 2 && y.size(0) == n && y.size(1) == grid.values() &&
              group.dim() == 1 && group.size(0) == n && y.isfinite().all().item<bool>(),
          "conformal", "expected densities, their true values and a group for each");
  at::Tensor scores = (grid.share_below(log_probabilities, y) - 0.5).abs();
  ConformalIntervals out;
  out.scores_ = GroupedScores::keep(scores, group);
  return out;
}

std::pair<at::Tensor, at::Tensor> ConformalIntervals::intervals(const ValueGrid& grid,
                                                                const at::Tensor& log_probabilities,
                                                                const at::Tensor& group,
                                                                double coverage) const {
  require(coverage > 0 && coverage < 1, "conformal", "expected a coverage between 0 and 1");
  require(fitted(), "conformal", "expected calibrated intervals");
  require(grid.values() == scores_.columns(), "conformal",
          "expected as many values as in the calibration");
  at::Tensor reach = scores_.limits(group, coverage);
  at::Tensor known = reach.isfinite(), finite = at::where(known, reach, at::zeros_like(reach));
  const double far = std::numeric_limits<double>::infinity();
  at::Tensor low = grid.quantile(log_probabilities, 0.5 - finite);
  at::Tensor high = grid.quantile(log_probabilities, 0.5 + finite);
  return {at::where(known, low, at::full_like(low, -far)),
          at::where(known, high, at::full_like(high, far))};
}

ConformalIntervals ConformalIntervals::from_json(const Json& json) {
  ConformalIntervals out;
  out.scores_ = GroupedScores::from_json(json);
  return out;
}

}  // namespace plait::models
