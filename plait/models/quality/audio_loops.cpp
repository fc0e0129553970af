#include "plait/models/quality/audio_loops.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "plait/models/quality/processors.h"

namespace plait::models {
namespace loops {
namespace {

// The width of registers is left to the compiler where it finds vectors by itself.
template <int kBytes>
PLAIT_INLINE Level level_of(const float* x, int64_t n) {
  double power = 0;
  for (int64_t i = 0; i < n; ++i) power += static_cast<double>(x[i]) * x[i];
  // Magnitudes compare like their bits, and what is not finite has the largest.
  int32_t most = 0;
  for (int64_t i = 0; i < n; ++i) most = std::max(most, std::bit_cast<int32_t>(x[i]) & 0x7fffffff);
  return {power, std::bit_cast<float>(most), most < 0x7f800000};
}

template <int kBytes>
PLAIT_INLINE int64_t find_zero(const float* x, int64_t from, int64_t n) {
  constexpr int64_t kChunk = 64;
  int64_t i = from;
  for (; i + kChunk <= n; i += kChunk) {
    int32_t zeros = 0;
    for (int64_t k = 0; k < kChunk; ++k) zeros |= x[i + k] == 0;
    if (zeros) break;
  }
  while (i < n && x[i] != 0) ++i;
  return i;
}

template <int kBytes>
PLAIT_INLINE int64_t count_flat(const float* x, int64_t n, float high, float step) {
  int64_t flat = 0;
  for (int64_t begin = 1; begin < n; begin += INT32_MAX) {
    const int64_t end = std::min<int64_t>(n, begin + INT32_MAX);
    int32_t found = 0;
    for (int64_t i = begin; i < end; ++i)
      found += (std::fabs(x[i]) >= high) & (std::fabs(x[i] - x[i - 1]) <= step);
    flat += found;
  }
  return flat;
}

template <int kBytes>
struct Wide {
  typedef double Doubles __attribute__((vector_size(kBytes)));
  typedef uint64_t Longs __attribute__((vector_size(kBytes)));
  typedef float Floats __attribute__((vector_size(kBytes / 2), aligned(4), may_alias));
};

template <int kBytes>
PLAIT_INLINE Differences differences_of(const float* x, int64_t n) {
  using Doubles = typename Wide<kBytes>::Doubles;
  using Longs = typename Wide<kBytes>::Longs;
  using Floats = typename Wide<kBytes>::Floats;
  constexpr int64_t kLanes = kBytes / 8, kTogether = 16;
  constexpr uint64_t kFraction = (uint64_t{1} << 52) - 1, kOne = uint64_t{1023} << 52;
  // One logarithm for many: the product of a few neither over- nor underflows, then its power of
  // two is counted apart.
  Doubles sum = {}, product = Doubles{} + 1.0;
  Longs powers = {};
  int64_t times = 0, i = 1;
  auto take_powers = [&]() __attribute__((always_inline)) {
    const Longs bits = (Longs)product;
    powers += bits >> 52;
    product = (Doubles)((bits & kFraction) | kOne);
    ++times;
  };
  while (i + kLanes <= n) {
    for (int64_t k = 0; k < kTogether && i + kLanes <= n; ++k, i += kLanes) {
      const Doubles now = __builtin_convertvector(*reinterpret_cast<const Floats*>(x + i), Doubles);
      const Doubles before =
          __builtin_convertvector(*reinterpret_cast<const Floats*>(x + i - 1), Doubles);
      const Doubles v = (Doubles)((Longs)(now - 0.97 * before) & (~uint64_t{0} >> 1));
      sum += v;
      product *= v + 1e-6;
    }
    take_powers();
  }
  Differences out;
  out.count = std::max<int64_t>(n - 1, 0);
  double rest = 1;
  for (; i < n; ++i) {
    const double v = std::fabs(x[i] - 0.97 * x[i - 1]);
    out.sum += v;
    rest *= v + 1e-6;
  }
  out.logs = std::log(rest);
  for (int64_t k = 0; k < kLanes; ++k) {
    out.sum += sum[k];
    out.logs += std::log(product[k]) +
                M_LN2 * (static_cast<double>(powers[k]) - 1023.0 * static_cast<double>(times));
  }
  return out;
}

/// Values that are ≥ 0 have the order of their bits: the range that holds the one sought is halved
/// until it holds no other.
template <int kBytes>
PLAIT_INLINE Between quantile_of(const float* values, int64_t n, double q) {
  const auto rank = static_cast<float>(q) * static_cast<float>(n - 1);
  const auto place = static_cast<int64_t>(std::floor(rank));
  int32_t low = INT32_MAX, high = 0;
  for (int64_t i = 0; i < n; ++i) {
    low = std::min(low, std::bit_cast<int32_t>(values[i]));
    high = std::max(high, std::bit_cast<int32_t>(values[i]));
  }
  while (low < high) {
    const int32_t middle = low + (high - low) / 2;
    int32_t below = 0;
    for (int64_t i = 0; i < n; ++i) below += std::bit_cast<int32_t>(values[i]) <= middle;
    if (below > place) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  int32_t up_to = 0, next = INT32_MAX;
  for (int64_t i = 0; i < n; ++i) {
    const auto bits = std::bit_cast<int32_t>(values[i]);
    up_to += bits <= low;
    next = std::min(next, bits > low ? bits : INT32_MAX);
  }
  Between out{std::bit_cast<float>(low), std::bit_cast<float>(low), rank - std::floor(rank)};
  if (up_to <= place + 1 && place + 1 < n) out.above = std::bit_cast<float>(next);
  return out;
}

}  // namespace
}  // namespace loops

PLAIT_VARIANTS(Level, level_of, (const float* x, int64_t n), (x, n))
PLAIT_VARIANTS(int64_t, find_zero, (const float* x, int64_t from, int64_t n), (x, from, n))
PLAIT_VARIANTS(int64_t, count_flat, (const float* x, int64_t n, float high, float step),
               (x, n, high, step))
PLAIT_VARIANTS(Differences, differences_of, (const float* x, int64_t n), (x, n))
PLAIT_VARIANTS(Between, quantile_of, (const float* values, int64_t n, double q), (values, n, q))

}  // namespace plait::models
