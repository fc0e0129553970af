#pragma once
#include <cstdint>
#include <string>

namespace plait::train {

/// The factor on the learning rate at 0-based optimizer step `step` of `total`: rises linearly as
/// (step + 1) / (warmup + 1) for `warmup` steps, is 1 at step `warmup`, then "cosine" (half a wave
/// to 0), "linear" (to 0) or "constant".
/// @throws Error kInvalidArgument for another name.
double learning_rate_factor(const std::string& kind, int64_t step, int64_t warmup, int64_t total);

}  // namespace plait::train
