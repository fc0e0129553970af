#pragma once
#include <ATen/core/Tensor.h>

#include <map>
#include <vector>

#include "plait/core/json.h"

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
  Json to_json() const;
  /// @throws Error kCorruptData for anything that to_json does not write.
  static ConformalSets from_json(const Json& json);

 private:
  /// The scores' order statistics: all of them, or 256 at even ranks.
  struct Scores {
    int64_t count = 0;
    std::vector<double> kept;
    double quantile(double coverage) const;
  };
  static Scores keep(const at::Tensor& scores);
  static Json write(const Scores& scores);
  static Scores read(const Json& json);

  Scores all_;
  std::map<int64_t, Scores> groups_;
  std::vector<Scores> classes_;
};

}  // namespace plait::models
