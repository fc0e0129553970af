#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
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

/// The number that is the name of a group. @throws Error kCorruptData.
int64_t group_number(const std::string& name);

}  // namespace plait::models
