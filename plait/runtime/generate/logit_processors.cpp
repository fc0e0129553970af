#include "plait/runtime/generate/logit_processors.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <unordered_set>
#include <vector>

#include "plait/core/error.h"

namespace plait::runtime {
namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();
constexpr const char* kUnit = "generate";

/// The largest score; throws when there is none to choose.
float highest(std::span<const float> scores) {
  float best = kForbidden;
  bool broken = false;
  for (float score : scores) {
    broken |= std::isnan(score);
    best = std::max(best, score);
  }
  if (broken || best == std::numeric_limits<float>::infinity())
    fail(ErrorCode::kInvalidArgument, kUnit, "expected finite scores, got NaN or infinity");
  if (best == kForbidden)
    fail(ErrorCode::kInvalidArgument, kUnit, "expected a token that is allowed, got none");
  return best;
}

}  // namespace

void penalize_repetition(std::span<float> scores, std::span<const int64_t> ids, double penalty) {
  if (penalty == 1) return;
  const auto by = static_cast<float>(penalty);
  std::unordered_set<int64_t> seen;
  for (int64_t id : ids) {
    if (id < 0 || static_cast<size_t>(id) >= scores.size() || !seen.insert(id).second) continue;
    float& score = scores[static_cast<size_t>(id)];
    score = score < 0 ? score * by : score / by;
  }
}

void forbid_repeated_ngrams(std::span<float> scores, std::span<const int64_t> ids, int64_t size) {
  const auto n = static_cast<size_t>(size);
  if (size <= 0 || ids.size() < n) return;
  const auto prefix = ids.last(n - 1);
  for (size_t begin = 0; begin + n <= ids.size(); ++begin) {
    if (!std::equal(prefix.begin(), prefix.end(), ids.begin() + static_cast<long>(begin))) continue;
    const int64_t next = ids[begin + n - 1];
    if (next >= 0 && static_cast<size_t>(next) < scores.size())
      scores[static_cast<size_t>(next)] = kForbidden;
  }
}

void forbid(std::span<float> scores, std::span<const int64_t> tokens) {
  for (int64_t id : tokens) {
    if (id >= 0 && static_cast<size_t>(id) < scores.size())
      scores[static_cast<size_t>(id)] = kForbidden;
  }
}

void apply_temperature(std::span<float> scores, double temperature) {
  const auto t = static_cast<float>(temperature);
  for (float& score : scores) score /= t;
}

void keep_top_k(std::span<float> scores, int64_t k) {
  if (k <= 0 || static_cast<size_t>(k) >= scores.size()) return;
  std::vector<float> sorted(scores.begin(), scores.end());
  std::nth_element(sorted.begin(), sorted.begin() + (k - 1), sorted.end(), std::greater<>());
  const float last = sorted[static_cast<size_t>(k - 1)];
  for (float& score : scores) {
    if (score < last) score = kForbidden;
  }
}

void keep_top_p(std::span<float> scores, double p) {
  if (p >= 1) return;
  const float best = highest(scores);
  std::vector<std::pair<float, size_t>> order;
  double sum = 0;
  for (size_t i = 0; i < scores.size(); ++i) {
    if (scores[i] == kForbidden) continue;
    order.emplace_back(scores[i], i);
    sum += std::exp(scores[i] - best);
  }
  // A token stays as long as those above it have not reached p; few do, so few are sorted.
  double above = 0;
  size_t kept = 0, sorted = 0;
  while (kept < order.size()) {
    if (kept == sorted) {
      sorted = std::min(order.size(), std::max<size_t>(256, 4 * sorted));
      std::partial_sort(order.begin() + static_cast<long>(kept),
                        order.begin() + static_cast<long>(sorted), order.end(),
                        [](const auto& a, const auto& b) { return a.first > b.first; });
    }
    if (kept > 0 && above >= p) break;
    above += std::exp(order[kept++].first - best) / sum;
  }
  for (size_t i = kept; i < order.size(); ++i) scores[order[i].second] = kForbidden;
}

void keep_min_p(std::span<float> scores, double p) {
  if (p <= 0) return;
  const float best = highest(scores);
  for (float& score : scores) {
    if (score < best && std::exp(score - best) < static_cast<float>(p)) score = kForbidden;
  }
}

int64_t best_of(std::span<const float> scores) {
  const float best = highest(scores);
  return std::find(scores.begin(), scores.end(), best) - scores.begin();
}

int64_t draw_from(std::span<const float> scores, std::mt19937_64& generator) {
  const float best = highest(scores);
  double sum = 0;
  for (float score : scores) sum += std::exp(static_cast<double>(score - best));
  // 53 bits as a number in [0, 1): std::uniform_real_distribution differs between libraries.
  double rest = static_cast<double>(generator() >> 11) * 0x1p-53 * sum;
  int64_t last = 0;
  for (size_t i = 0; i < scores.size(); ++i) {
    if (scores[i] == kForbidden) continue;
    last = static_cast<int64_t>(i);
    rest -= std::exp(static_cast<double>(scores[i] - best));
    if (rest < 0) break;
  }
  return last;
}

double log_sum_exp(std::span<const float> scores) {
  const float best = highest(scores);
  double sum = 0;
  for (float score : scores) sum += std::exp(static_cast<double>(score - best));
  return best + std::log(sum);
}

}  // namespace plait::runtime
