#pragma once
#include <array>

#include "plait/runtime/trust_engine.h"

namespace plait::runtime {

inline constexpr auto kMostStreams = static_cast<size_t>(models::TrustFusion::kMaxStreams);

/// One item on its way: what its streams say, and where the answer goes.
struct TrustEngine::Item {
  std::array<const float*, kMostStreams> records{};  ///< Null where absent
  const float* quality = nullptr;                    ///< [M]
  const float* joint = nullptr;                      ///< [K]; null: not known
  int64_t subset = 0;
  // Worked out on the way.
  std::array<std::array<float, kMostStreams>, kMostStreams> consistency{};  ///< [b][a]
  float *p = nullptr, *ratio = nullptr;  ///< [M, K]: p_m, p_m / π
  // The answer.
  float *log_probabilities = nullptr, *breakage = nullptr, *support = nullptr, *weights = nullptr;
  int64_t* group = nullptr;
  models::Decider decider = models::Decider::kTrust;

  bool has(size_t m) const { return records[m] != nullptr; }
};

}  // namespace plait::runtime
