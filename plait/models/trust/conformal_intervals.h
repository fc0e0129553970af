#pragma once
#include <utility>

#include "plait/models/trust/conformal_scores.h"
#include "plait/models/trust/value_grid.h"

namespace plait::models {

/// Intervals that hold the true value as often as was asked for (distributional conformal
/// prediction: Chernozhukov, Wüthrich, Zhu 2021, https://arxiv.org/abs/1909.07889; split by groups
/// as ConformalSets are). An item's score is how far the share of its density below the true value
/// lies from one half; the interval reaches as far as the ⌈(n + 1) · coverage⌉-th smallest score of
/// its group on either side of the median, and beyond the grid where that score lay beyond it. Each
/// of several values is promised by itself. Thread-safe once fitted.
class ConformalIntervals {
 public:
  /// log_probabilities [N, R · C] of the grid's bins, y [N, R] in the targets' own unit, group [N]
  /// int64.
  static ConformalIntervals fit(const ValueGrid& grid, const at::Tensor& log_probabilities,
                                const at::Tensor& y, const at::Tensor& group);
  /// Lower and upper ends [B, R]; infinite where a group is too small for the coverage.
  /// @throws Error kInvalidArgument for a coverage outside (0, 1) or when nothing was fitted.
  std::pair<at::Tensor, at::Tensor> intervals(const ValueGrid& grid,
                                              const at::Tensor& log_probabilities,
                                              const at::Tensor& group, double coverage) const;

  bool fitted() const { return scores_.columns() > 0; }
  Json to_json() const { return scores_.to_json(); }
  /// @throws Error kCorruptData for anything that to_json does not write.
  static ConformalIntervals from_json(const Json& json);

 private:
  GroupedScores scores_;  ///< By value
};

}  // namespace plait::models
