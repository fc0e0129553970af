#include "plait/train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "plait/core/error.h"

namespace plait::train {

double learning_rate_factor(const std::string& kind, int64_t step, int64_t warmup, int64_t total) {
  if (kind != "cosine" && kind != "linear" && kind != "constant") {
    fail(ErrorCode::kInvalidArgument, "schedule",
         "expected one of: cosine, linear, constant; got \"" + kind + "\"");
  }
  if (step < warmup) return static_cast<double>(step + 1) / static_cast<double>(warmup + 1);
  if (kind == "constant") return 1;
  double done = static_cast<double>(step - warmup) /
                static_cast<double>(std::max<int64_t>(total - warmup, 1));
  done = std::min(done, 1.0);
  return kind == "linear" ? 1 - done : 0.5 * (1 + std::cos(std::numbers::pi * done));
}

}  // namespace plait::train
