#include "plait/runtime/vector_loops.h"

#include <algorithm>
#include <cstring>

namespace plait::runtime {
namespace {

constexpr int64_t kLanes = Panels::kLanes;
constexpr int64_t kChunk = 64;  ///< Terms summed up apart: long sums keep their last digits

// Vectors as wide as the processor's registers, at any address.
struct Lanes4 {
  typedef float Floats __attribute__((vector_size(16), aligned(4), may_alias));
  typedef int32_t Ints __attribute__((vector_size(16), aligned(4), may_alias));
  static constexpr int kCount = 4;
};
struct Lanes8 {
  typedef float Floats __attribute__((vector_size(32), aligned(4), may_alias));
  typedef int32_t Ints __attribute__((vector_size(32), aligned(4), may_alias));
  static constexpr int kCount = 8;
};
struct Lanes16 {
  typedef float Floats __attribute__((vector_size(64), aligned(4), may_alias));
  typedef int32_t Ints __attribute__((vector_size(64), aligned(4), may_alias));
  static constexpr int kCount = 16;
};

// Everything below is inlined into functions that are compiled for one kind of processor each.
#define PLAIT_INLINE inline __attribute__((always_inline))

/// Some items against some blocks of columns, sums held in registers.
template <class L, bool kDistance, int kItems, int kBlocks>
PLAIT_INLINE void tile(const float* columns, int64_t inputs, const float* x, int64_t x_stride,
                       float* out, int64_t out_stride) {
  using Floats = typename L::Floats;
  constexpr int kParts = static_cast<int>(kLanes) / L::kCount, kColumns = kBlocks * kParts;
  Floats total[kItems][kColumns] = {};
  for (int64_t begin = 0; begin < inputs; begin += kChunk) {
    const int64_t end = begin + kChunk < inputs ? begin + kChunk : inputs;
    Floats sum[kItems][kColumns] = {};
    for (int64_t d = begin; d < end; ++d) {
#pragma GCC unroll 16
      for (int j = 0; j < kColumns; ++j) {
        const auto column = *reinterpret_cast<const Floats*>(
            columns + ((j / kParts) * inputs + d) * kLanes + (j % kParts) * L::kCount);
#pragma GCC unroll 4
        for (int i = 0; i < kItems; ++i) {
          const float value = x[i * x_stride + d];
          if constexpr (kDistance) {
            const Floats miss = value - column;
            sum[i][j] += miss * miss;
          } else {
            sum[i][j] += value * column;
          }
        }
      }
    }
#pragma GCC unroll 4
    for (int i = 0; i < kItems; ++i) {
#pragma GCC unroll 16
      for (int j = 0; j < kColumns; ++j) total[i][j] += sum[i][j];
    }
  }
  for (int i = 0; i < kItems; ++i) {
    for (int j = 0; j < kColumns; ++j)
      *reinterpret_cast<Floats*>(out + i * out_stride + j * L::kCount) = total[i][j];
  }
}

/// `kWide` blocks at once for an item alone, half as many for each of four.
template <class L, bool kDistance, int kWide>
PLAIT_INLINE void all(const Panels& m, const float* x, int64_t x_stride, int64_t items, float* out,
                      int64_t out_stride) {
  constexpr int kNarrow = kWide > 1 ? kWide / 2 : 1;
  const int64_t block = m.inputs * kLanes;
  int64_t i = 0;
  for (; i + 4 <= items; i += 4) {
    const float* own = x + i * x_stride;
    float* to = out + i * out_stride;
    int64_t b = 0;
    for (; b + kNarrow <= m.blocks; b += kNarrow)
      tile<L, kDistance, 4, kNarrow>(m.values + b * block, m.inputs, own, x_stride, to + b * kLanes,
                                     out_stride);
    for (; b < m.blocks; ++b)
      tile<L, kDistance, 4, 1>(m.values + b * block, m.inputs, own, x_stride, to + b * kLanes,
                               out_stride);
  }
  for (; i < items; ++i) {
    const float* own = x + i * x_stride;
    float* to = out + i * out_stride;
    int64_t b = 0;
    for (; b + kWide <= m.blocks; b += kWide)
      tile<L, kDistance, 1, kWide>(m.values + b * block, m.inputs, own, 0, to + b * kLanes, 0);
    for (; b < m.blocks; ++b)
      tile<L, kDistance, 1, 1>(m.values + b * block, m.inputs, own, 0, to + b * kLanes, 0);
  }
}

/// x ← exp(x) for −87 ≤ x ≤ 0: 2ⁿ · eʳ, |r| ≤ ln 2 / 2, eʳ by Cephes' polynomial.
template <class L>
PLAIT_INLINE void exponential(typename L::Floats& x) {
  using Floats = typename L::Floats;
  using Ints = typename L::Ints;
  constexpr float kRounding = 12582912.0F;  // 1.5 · 2²³: adding it rounds to an integer
  const Floats shifted = x * 1.44269504F + kRounding;
  const Floats n = shifted - kRounding;
  const Floats r = (x - n * 0.693359375F) + n * 2.12194440e-4F;
  Floats y = r * 1.9875691500e-4F + 1.3981999507e-3F;
  y = y * r + 8.3334519073e-3F;
  y = y * r + 4.1665795894e-2F;
  y = y * r + 1.6666665459e-1F;
  y = y * r + 5.0000001201e-1F;
  y = y * (r * r) + r + 1.0F;
  const Ints power = (Ints)shifted << 23;  // The lowest bits of `shifted` are those of n
  x = (Floats)((Ints)y + power);
}

/// As many values as fit into one vector.
template <class L>
PLAIT_INLINE void decay_few(float* values, float rate) {
  using Floats = typename L::Floats;
  using Ints = typename L::Ints;
  constexpr float kLeast = -87.0F;
  Floats x = *reinterpret_cast<Floats*>(values) * -rate;
  const Ints inside = x >= kLeast;
  x = (Floats)((Ints)x & inside);
  exponential<L>(x);
  *reinterpret_cast<Floats*>(values) = (Floats)((Ints)x & inside);
}

template <class L>
PLAIT_INLINE void decay_all(float* values, int64_t count, float rate) {
  int64_t i = 0;
  for (; i + L::kCount <= count; i += L::kCount) decay_few<L>(values + i, rate);
  if (i == count) return;
  float rest[L::kCount] = {};
  const auto bytes = static_cast<size_t>(count - i) * sizeof(float);
  std::memcpy(rest, values + i, bytes);
  decay_few<L>(rest, rate);
  std::memcpy(values + i, rest, bytes);
}

#define PLAIT_LOOPS(kind, target, Lanes, wide)                                                   \
  target void multiply_##kind(const Panels& m, const float* x, int64_t x_stride, int64_t items,  \
                              float* out, int64_t out_stride) {                                  \
    all<Lanes, false, wide>(m, x, x_stride, items, out, out_stride);                             \
  }                                                                                              \
  target void distances_##kind(const Panels& m, const float* x, int64_t x_stride, int64_t items, \
                               float* out, int64_t out_stride) {                                 \
    all<Lanes, true, wide>(m, x, x_stride, items, out, out_stride);                              \
  }                                                                                              \
  target void decay_##kind(float* values, int64_t count, float rate) {                           \
    decay_all<Lanes>(values, count, rate);                                                       \
  }                                                                                              \
  constexpr VectorLoops k_##kind{#kind, multiply_##kind, distances_##kind, decay_##kind};

PLAIT_LOOPS(baseline, , Lanes4, 1)
#if defined(__x86_64__)
PLAIT_LOOPS(avx2, __attribute__((target("avx2,fma"))), Lanes8, 2)
PLAIT_LOOPS(avx512, __attribute__((target("avx512f,fma"))), Lanes16, 4)
#endif

}  // namespace

const std::vector<const VectorLoops*>& vector_loops() {
  static const std::vector<const VectorLoops*> kAll = [] {
    std::vector<const VectorLoops*> out;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f")) out.push_back(&k_avx512);
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) out.push_back(&k_avx2);
#endif
    out.push_back(&k_baseline);
    return out;
  }();
  return kAll;
}

}  // namespace plait::runtime
