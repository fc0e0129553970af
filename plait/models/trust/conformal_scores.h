#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <vector>

#include "plait/core/json.h"

namespace plait::models {

/// Order statistics of calibration scores: all of them, or 256 at even ranks.
struct ConformalScores {
  int64_t count = 0;
  std::vector<double> kept;  ///< Rising

  static ConformalScores keep(const at::Tensor& scores);
  /// The ⌈(n + 1) · coverage⌉-th smallest, or the next kept above; infinite when there are too few.
  double quantile(double coverage) const;
  Json to_json() const;
  /// @throws Error kCorruptData for anything that to_json does not write.
  static ConformalScores from_json(const Json& json);
};

/// Scores of several answers side by side (values, labels): each of all items and, where a group
/// has enough of them, of its own.
class GroupedScores {
 public:
  static constexpr int64_t kMinItems = 50;  ///< Smaller groups take the scores of all items

  /// scores [N, C], group [N] int64; undefined: no groups.
  static GroupedScores keep(const at::Tensor& scores, const at::Tensor& group);
  int64_t columns() const { return static_cast<int64_t>(all_.size()); }
  /// [B, C] the limit of each answer in the group [B] of each item; infinite where there are too
  /// few.
  at::Tensor limits(const at::Tensor& group, double coverage) const;
  Json to_json() const;
  /// Reads the members that to_json writes. @throws Error kCorruptData for anything else.
  static GroupedScores from_json(const Json& json);

 private:
  std::vector<ConformalScores> all_;
  std::map<int64_t, std::vector<ConformalScores>> groups_;
};

/// One per column of scores [N, C].
std::vector<ConformalScores> keep_each(const at::Tensor& scores);
/// [C] limits of every column.
at::Tensor limits_of(const std::vector<ConformalScores>& each, double coverage);
Json to_json(const std::vector<ConformalScores>& each);
/// @throws Error kCorruptData for none, or for another number than `count` (0: any).
std::vector<ConformalScores> scores_from_json(const Json& json, size_t count);

/// The number that is the name of a group. @throws Error kCorruptData.
int64_t group_number(const std::string& name);

}  // namespace plait::models
