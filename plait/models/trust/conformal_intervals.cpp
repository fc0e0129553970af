#include "plait/models/trust/conformal_intervals.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>

#include "plait/core/error.h"

namespace plait::models {
namespace {

std::vector<ConformalScores> keep_each(const at::Tensor& scores) {
  std::vector<ConformalScores> out;
  for (int64_t r = 0; r < scores.size(1); ++r)
    out.push_back(ConformalScores::keep(scores.select(1, r)));
  return out;
}

Json write(const std::vector<ConformalScores>& each) {
  Json out = Json::array();
  for (const ConformalScores& scores : each) out.push_back(scores.to_json());
  return out;
}

std::vector<ConformalScores> read(const Json& json, size_t values) {
  std::vector<ConformalScores> out;
  for (const Json& scores : json.items()) out.push_back(ConformalScores::from_json(scores));
  if (out.empty() || (values > 0 && out.size() != values))
    fail(ErrorCode::kCorruptData, "conformal", "expected scores of every value");
  return out;
}

}  // namespace

ConformalIntervals ConformalIntervals::fit(const ValueGrid& grid,
                                           const at::Tensor& log_probabilities, const at::Tensor& y,
                                           const at::Tensor& group) {
  const int64_t n = log_probabilities.size(0);
  require(n > 0 && y.dim() == 2 && y.size(0) == n && y.size(1) == grid.values() &&
              group.dim() == 1 && group.size(0) == n && y.isfinite().all().item<bool>(),
          "conformal", "expected densities, their true values and a group for each");
  at::Tensor scores = (grid.share_below(log_probabilities, y) - 0.5).abs();
  ConformalIntervals out;
  out.all_ = keep_each(scores);
  at::Tensor names = std::get<0>(at::_unique(group));
  for (int64_t g = 0; g < names.size(0); ++g) {
    at::Tensor rows = (group == names[g]).nonzero().squeeze(1);
    if (rows.size(0) >= kMinItems)
      out.groups_[names[g].item<int64_t>()] = keep_each(scores.index_select(0, rows));
  }
  return out;
}

std::pair<at::Tensor, at::Tensor> ConformalIntervals::intervals(const ValueGrid& grid,
                                                                const at::Tensor& log_probabilities,
                                                                const at::Tensor& group,
                                                                double coverage) const {
  require(coverage > 0 && coverage < 1, "conformal", "expected a coverage between 0 and 1");
  require(fitted(), "conformal", "expected calibrated intervals");
  const int64_t n = log_probabilities.size(0), values = grid.values();
  require(values == static_cast<int64_t>(all_.size()), "conformal",
          "expected as many values as in the calibration");
  at::Tensor reach = at::empty({n, values}, at::kDouble);
  for (int64_t i = 0; i < n; ++i) {
    auto own = groups_.find(group[i].item<int64_t>());
    const auto& scores = own == groups_.end() ? all_ : own->second;
    for (int64_t r = 0; r < values; ++r)
      reach[i][r] = scores[static_cast<size_t>(r)].quantile(coverage);
  }
  at::Tensor known = reach.isfinite(), finite = at::where(known, reach, at::zeros_like(reach));
  const double far = std::numeric_limits<double>::infinity();
  at::Tensor low = grid.quantile(log_probabilities, 0.5 - finite);
  at::Tensor high = grid.quantile(log_probabilities, 0.5 + finite);
  return {at::where(known, low, at::full_like(low, -far)),
          at::where(known, high, at::full_like(high, far))};
}

Json ConformalIntervals::to_json() const {
  Json out = Json::object({{"all", write(all_)}, {"groups", Json::object({})}});
  for (const auto& [group, each] : groups_) out["groups"][std::to_string(group)] = write(each);
  return out;
}

ConformalIntervals ConformalIntervals::from_json(const Json& json) {
  ConformalIntervals out;
  out.all_ = read(json.at("all"), 0);
  for (const auto& [group, each] : json.at("groups").members())
    out.groups_[group_number(group)] = read(each, out.all_.size());
  return out;
}

}  // namespace plait::models
