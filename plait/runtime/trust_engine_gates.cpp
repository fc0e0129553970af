// How the trust engine finds out whom to believe: streams against each other, and the gates.
#include <algorithm>
#include <array>
#include <cmath>

#include "plait/runtime/trust_item.h"
#include "plait/runtime/trust_math.h"

namespace plait::runtime {
namespace {

// As in plait/models/trust: consistency.cpp and trust_fusion.cpp.
constexpr float kMostNats = 20;
constexpr float kExcessSlope = 3;
constexpr float kConsensusFloor = 0.1;
constexpr float kFarthest = 1e4;
constexpr auto kInputs = static_cast<size_t>(models::TrustFusion::kGateInputs);

float squash(float nats) { return std::asinh(nats / 2); }
float decades(float quality) { return std::log10(std::clamp(quality, 1e-3F, 1.0F)) / 3 + 1; }

}  // namespace

/// How much better each stream is explained by each other one.
void TrustEngine::compare_streams(Item& item, Arena& arena) const {
  for (size_t a = 0; a < streams(); ++a) {
    int64_t told = experts_[a].layout().told;
    for (size_t b = 0; b < streams(); ++b) {
      if (a == b) continue;
      const PackedExpert::Layout& own = experts_[b].layout();
      const int64_t width = own.told - own.coordinates;
      const Pair& pair = pairs_[a][b];
      if (item.has(a) && item.has(b) && pair.fitted) {
        const float *x = item.records[b] + own.coordinates, *as_told = item.records[a] + told;
        float* missed = arena.take(width);
        float* white = arena.take(pair.whitening.room());
        for (int64_t c = 0; c < width; ++c) missed[c] = x[c] - as_told[c];
        loops_->multiply(pair.whitening.panels(), missed, width, 1, white, 0);
        const float ratio =
            pair.shift - 0.5F * sum_of_squares(white, width) - item.records[b][own.alone];
        item.consistency[b][a] = std::min(std::max(ratio, -kMostNats), kMostNats);
      }
      told += width;
    }
  }
}

/// Nats [M, K] that each stream adds to each class, before the scale.
void TrustEngine::pool(const Item& item, const float* breakage, float* support) const {
  for (size_t m = 0; m < streams(); ++m) {
    const auto row = static_cast<int64_t>(m) * classes_;
    for (int64_t k = 0; k < classes_; ++k)
      support[row + k] =
          item.has(m) ? std::log((1 - breakage[m]) * item.ratio[row + k] + breakage[m]) : 0;
  }
}

/// The gates' inputs [M, kGateInputs] and excess [M]; see TrustFusion::look_at.
void TrustEngine::look_around(const Item& item, const float* suspicion, float* inputs,
                              float* excess, Arena& arena) const {
  const auto count = static_cast<int64_t>(streams());
  const float classes = std::log(static_cast<float>(classes_));
  float* support = arena.take(count * classes_);
  float* all = arena.take(classes_);
  float* consensus = arena.take(classes_);
  pool(item, suspicion, support);
  for (int64_t k = 0; k < classes_; ++k) {
    all[k] = log_prior_[static_cast<size_t>(k)];
    for (int64_t m = 0; m < count; ++m) all[k] += support[m * classes_ + k];
  }
  std::array<float, kMostStreams> torn_by{}, torn_from{};
  float torn_all = 0;
  for (size_t b = 0; b < streams(); ++b) {
    for (size_t a = 0; a < streams(); ++a) {
      if (!item.has(a) || !item.has(b)) continue;
      const float torn =
          std::min(item.consistency[b][a] * (1 - suspicion[a]), 0.0F) * (1 - suspicion[b]);
      torn_from[b] += torn, torn_by[a] += torn, torn_all += torn;
    }
  }
  for (size_t m = 0; m < streams(); ++m) {
    if (!item.has(m)) continue;
    const PackedExpert::Layout& at = experts_[m].layout();
    const float *own = item.records[m], *log_p = own + at.log_probabilities;
    const auto row = static_cast<int64_t>(m) * classes_;
    const float* p = item.p + row;
    for (int64_t k = 0; k < classes_; ++k) consensus[k] = all[k] - support[row + k];
    log_softmax(consensus, classes_, consensus);
    float entropy = 0, surest = 0, agreed = 0, by_chance = 0, most = 0;
    for (int64_t k = 0; k < classes_; ++k) {
      const float others = std::exp(consensus[k]);
      entropy -= p[k] * log_p[k];
      agreed += p[k] * others;
      by_chance += p[k] * prior_[static_cast<size_t>(k)];
      surest = std::max(surest, p[k]);
      most = std::max(most, others);
    }
    const float kappa =
        std::min(std::max((agreed - by_chance) / std::max(1 - by_chance, 1e-3F), 0.0F), 1.0F);
    float joined = 0, torn = 0, best = 0;
    float least_unusual = kFarthest, least_excess = kFarthest;
    bool alone = true;
    for (size_t a = 0; a < streams(); ++a) {
      if (a == m || !item.has(a)) continue;
      const PackedExpert::Layout& other = experts_[a].layout();
      const float nats = item.consistency[m][a] * (1 - suspicion[a]);
      joined += std::max(nats, 0.0F), torn += std::min(nats, 0.0F), best = std::max(best, nats);
      least_unusual = std::min(least_unusual, item.records[a][other.unusual]);
      least_excess = std::min(least_excess, item.records[a][other.excess]);
      alone = false;
    }
    if (alone) least_unusual = least_excess = 0;
    const std::array<float, kInputs> seen{entropy / classes,
                                          surest,
                                          std::log(std::max(agreed, 1e-6F)) / classes,
                                          most,
                                          std::log(own[at.p_value]) / 5,
                                          own[at.unusual],
                                          std::min(own[at.excess], 3.0F),
                                          squash(joined),
                                          squash(torn),
                                          squash(best),
                                          decades(item.quality[m]),
                                          least_unusual,
                                          squash(torn_all - torn_from[m] - torn_by[m])};
    std::copy(seen.begin(), seen.end(), inputs + m * kInputs);
    excess[m] = std::max(own[at.excess] - kappa * least_excess, 0.0F);
  }
}

void TrustEngine::ask_gates(Item& item, Arena& arena) const {
  std::array<float, kMostStreams * kInputs> inputs{};
  std::array<float, kMostStreams> excess{}, eps{};
  eps.fill(kConsensusFloor);
  float* h = arena.take(gates_[0].hidden.room());
  for (int look = 0; look < Gate::kLooks; ++look) {
    look_around(item, eps.data(), inputs.data(), excess.data(), arena);
    for (size_t m = 0; m < streams(); ++m) {
      eps[m] = 1;
      if (!item.has(m)) continue;
      const Gate& gate = gates_[m];
      loops_->multiply(gate.hidden.panels(), inputs.data() + m * kInputs, 0, 1, h, 0);
      for (size_t j = 0; j < gate.hidden_bias.size(); ++j) h[j] += gate.hidden_bias[j];
      loops_->gelu(h, gate.hidden.room());
      float logit = gate.bias;
      for (size_t j = 0; j < gate.output.size(); ++j) logit += h[j] * gate.output[j];
      const float doubt = 1 - sigmoid(logit) * std::exp(-kExcessSlope * excess[m]);
      eps[m] = std::min(std::max(doubt, floor_), 1.0F);
    }
  }
  for (size_t m = 0; m < streams(); ++m) {
    const float off = 1 - std::exp(-kExcessSlope * excess[m]);
    item.breakage[m] = item.has(m) ? std::max(floor_ + strength_ * (eps[m] - floor_), off) : 1;
  }
}

}  // namespace plait::runtime
