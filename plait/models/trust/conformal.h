#pragma once
#include <ATen/core/Tensor.h>

#include <map>
#include <vector>

#include "plait/models/trust/conformal_scores.h"

namespace plait::models {

/// Prediction sets that hold the true class as often as was asked for (adaptive prediction sets:
/// Romano, Sesia, Candès 2020, https://arxiv.org/abs/2006.02544; split by groups as in Vovk et al.
/// 2003, by classes as in Sadinle et al. 2019). An item's score is the probability mass of the
/// classes above the true one plus a uniform share u of its own; the set of a new item holds the
/// classes whose score lies below the ⌈(n + 1) · coverage⌉-th smallest of its group. u follows from
/// the probabilities themselves, so that the same answer always has the same set. Promise: over
/// items that are exchangeable with the calibration items of their group the set holds the class
/// with probability `coverage` (up to 1/256 more; and more where the one most probable class, which
/// is always in, is right more often than that). Thread-safe once fitted.
class ConformalSets {
 public:
  static constexpr int64_t kMinItems = 50;  ///< Smaller groups take the scores of all items

  /// log_probabilities [N, K], target [N], group [N] int64 (any numbers).
  static ConformalSets fit(const at::Tensor& log_probabilities, const at::Tensor& target,
                           const at::Tensor& group);
  /// [B, K] bool, never empty. `class_conditional`: the promise holds for every class by itself,
  /// over all groups together. A group that is too small for the coverage gives all classes.
  /// @throws Error kInvalidArgument for a coverage outside (0, 1) or when nothing was fitted.
  at::Tensor sets(const at::Tensor& log_probabilities, const at::Tensor& group, double coverage,
                  bool class_conditional = false) const;

  bool fitted() const { return all_.count > 0; }
  int64_t classes() const { return static_cast<int64_t>(classes_.size()); }
  /// The largest score of a class in a set of that group, or of a set by classes: infinite when the
  /// calibration items are too few.
  double limit(int64_t group, double coverage) const;
  double limit_of_class(int64_t k, double coverage) const;
  /// u of an item in [0, 1) from its `classes` log probabilities.
  static double draw(const float* log_probabilities, int64_t classes);
  Json to_json() const;
  /// @throws Error kCorruptData for anything that to_json does not write.
  static ConformalSets from_json(const Json& json);

 private:
  ConformalScores all_;
  std::map<int64_t, ConformalScores> groups_;
  std::vector<ConformalScores> classes_;
};

}  // namespace plait::models
