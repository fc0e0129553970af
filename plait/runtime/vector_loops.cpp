#include "plait/runtime/vector_loops.h"

#include <type_traits>

#include "plait/core/processor.h"

namespace plait::runtime {
namespace {

constexpr int64_t kLanes = Panels::kLanes;
// Terms summed up apart: long sums keep their last digits.
constexpr int64_t kChunk = 64;
constexpr int64_t kExactChunk = 16;

// Everything below is inlined into functions that are compiled for one kind of processor each.

// Vectors as wide as the processor's registers, at any address.
template <int kBytes>
struct Vectors {
  typedef float Floats __attribute__((vector_size(kBytes), aligned(4), may_alias));
  typedef float HalfFloats __attribute__((vector_size(kBytes / 2), aligned(4), may_alias));
  typedef double Doubles __attribute__((vector_size(kBytes), aligned(8), may_alias));
  typedef int32_t Ints __attribute__((vector_size(kBytes), aligned(4), may_alias));
  typedef int64_t Longs __attribute__((vector_size(kBytes), aligned(8), may_alias));
  static constexpr int kCount = kBytes / 4, kDoubles = kBytes / 8;
};
struct Lanes4 : Vectors<16> {
  static PLAIT_INLINE void halve(const Floats& x, HalfFloats& low, HalfFloats& high) {
    low = __builtin_shufflevector(x, x, 0, 1);
    high = __builtin_shufflevector(x, x, 2, 3);
  }
};
struct Lanes8 : Vectors<32> {
  static PLAIT_INLINE void halve(const Floats& x, HalfFloats& low, HalfFloats& high) {
    low = __builtin_shufflevector(x, x, 0, 1, 2, 3);
    high = __builtin_shufflevector(x, x, 4, 5, 6, 7);
  }
};
struct Lanes16 : Vectors<64> {
  static PLAIT_INLINE void halve(const Floats& x, HalfFloats& low, HalfFloats& high) {
    low = __builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7);
    high = __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15);
  }
};

/// Some items against some blocks of columns, sums held in registers. Sums of doubles are made of
/// short ones in single precision, what is lost in adding these up kept beside.
template <class L, bool kDistance, int kItems, int kBlocks, class Out>
PLAIT_INLINE void tile(const float* columns, int64_t inputs, const float* x, int64_t x_stride,
                       Out* out, int64_t out_stride) {
  using Floats = typename L::Floats;
  using Doubles = typename L::Doubles;
  constexpr bool kExact = std::is_same_v<Out, double>;
  constexpr int64_t kTerms = kExact ? kExactChunk : kChunk;
  constexpr int kParts = static_cast<int>(kLanes) / L::kCount, kColumns = kBlocks * kParts;
  Floats total[kItems][kColumns] = {};
  [[maybe_unused]] Floats lost[kItems][kColumns] = {};
  for (int64_t begin = 0; begin < inputs; begin += kTerms) {
    const int64_t end = begin + kTerms < inputs ? begin + kTerms : inputs;
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
      for (int j = 0; j < kColumns; ++j) {
        const Floats before = total[i][j];
        total[i][j] += sum[i][j];
        if constexpr (kExact) lost[i][j] += sum[i][j] - (total[i][j] - before);
      }
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < kItems; ++i) {
#pragma GCC unroll 16
    for (int j = 0; j < kColumns; ++j) {
      Out* to = out + i * out_stride + j * L::kCount;
      if constexpr (kExact) {
        typename L::HalfFloats low, high, low_lost, high_lost;
        L::halve(total[i][j], low, high);
        L::halve(lost[i][j], low_lost, high_lost);
        // Types spelled out: `auto` would forget that the address is any.
        *reinterpret_cast<Doubles*>(to) =
            __builtin_convertvector(low, Doubles) + __builtin_convertvector(low_lost, Doubles);
        *reinterpret_cast<Doubles*>(to + L::kDoubles) =
            __builtin_convertvector(high, Doubles) + __builtin_convertvector(high_lost, Doubles);
      } else {
        *reinterpret_cast<Floats*>(to) = total[i][j];
      }
    }
  }
}

/// `kWide` blocks at once for an item alone, half as many for each of four.
template <class L, bool kDistance, int kWide, class Out>
PLAIT_INLINE void all(const Panels& m, const float* x, int64_t x_stride, int64_t items, Out* out,
                      int64_t out_stride) {
  constexpr int kNarrow = kWide > 1 ? kWide / 2 : 1;
  const int64_t block = m.inputs * kLanes;
  int64_t i = 0;
  for (; i + 4 <= items; i += 4) {
    const float* own = x + i * x_stride;
    Out* to = out + i * out_stride;
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
    Out* to = out + i * out_stride;
    int64_t b = 0;
    for (; b + kWide <= m.blocks; b += kWide)
      tile<L, kDistance, 1, kWide>(m.values + b * block, m.inputs, own, 0, to + b * kLanes, 0);
    for (; b < m.blocks; ++b)
      tile<L, kDistance, 1, 1>(m.values + b * block, m.inputs, own, 0, to + b * kLanes, 0);
  }
}

/// x ← exp(−rate · x) for x ≥ 0, to 1e-11; 0 below e⁻⁸⁷. 2ⁿ · eʳ with |r| ≤ ln 2 / 2, eʳ by its
/// Taylor polynomial.
template <class L>
PLAIT_INLINE void decay(typename L::Doubles& x, double rate) {
  using Doubles = typename L::Doubles;
  using Longs = typename L::Longs;
  constexpr double kRounding = 6755399441055744.0;  // 1.5 · 2⁵²: adding it rounds to an integer
  constexpr double kFactors[] = {1.0 / 40320, 1.0 / 5040, 1.0 / 720, 1.0 / 120, 1.0 / 24,
                                 1.0 / 6,     0.5,        1.0,       1.0};
  x = x * -rate;
  const Longs inside = x >= -87.0;
  x = (Doubles)((Longs)x & inside);
  const Doubles shifted = x * 1.4426950408889634 + kRounding;
  const Doubles n = shifted - kRounding;
  const Doubles r = x - n * 0.6931471805599453;
  Doubles y = r * (1.0 / 362880) + kFactors[0];
#pragma GCC unroll 8
  for (int i = 1; i < 9; ++i) y = y * r + kFactors[i];
  const Longs power = (Longs)shifted << 52;  // The lowest bits of `shifted` are those of n
  x = (Doubles)(((Longs)y + power) & inside);
}

template <class L, int kWide>
PLAIT_INLINE void all_kernels(const Panels& m, const float* x, int64_t x_stride, int64_t items,
                              double rate, double* out, float* rounded, int64_t out_stride) {
  all<L, true, kWide>(m, x, x_stride, items, out, out_stride);
  for (int64_t i = 0; i < items; ++i) {
    for (int64_t j = i * out_stride; j < i * out_stride + m.blocks * kLanes; j += L::kDoubles) {
      typename L::Doubles kernel = *reinterpret_cast<typename L::Doubles*>(out + j);
      decay<L>(kernel, rate);
      *reinterpret_cast<typename L::Doubles*>(out + j) = kernel;
      *reinterpret_cast<typename L::HalfFloats*>(rounded + j) =
          __builtin_convertvector(kernel, typename L::HalfFloats);
    }
  }
}

/// max(x, 0) − |x| · erfc(|x| / √2) / 2, with erfc by Abramowitz and Stegun's 7.1.26, and e^(−x²/2)
/// as in `decay`.
template <class L>
PLAIT_INLINE void gelu(float* x, int64_t count) {
  using Floats = typename L::Floats;
  using Ints = typename L::Ints;
  constexpr float kRounding = 12582912.0F;  // 1.5 · 2²³
  constexpr float kFactors[] = {1.0F / 720, 1.0F / 120, 1.0F / 24, 1.0F / 6, 0.5F, 1.0F, 1.0F};
  constexpr float kErfc[] = {-1.453152027F, 1.421413741F, -0.284496736F, 0.254829592F};
  for (int64_t i = 0; i < count; i += L::kCount) {
    const Floats value = *reinterpret_cast<const Floats*>(x + i);
    const Floats size = (Floats)((Ints)value & 0x7fffffff);
    const Floats z = size * 0.70710678F;
    const Floats t = 1.0F / (z * 0.3275911F + 1.0F);
    Floats erfc = t * 1.061405429F + kErfc[0];
#pragma GCC unroll 4
    for (int j = 1; j < 4; ++j) erfc = erfc * t + kErfc[j];
    Floats exponent = -z * z;
    const Ints inside = exponent >= -87.0F;
    exponent = (Floats)((Ints)exponent & inside);
    const Floats shifted = exponent * 1.44269504F + kRounding;
    const Floats n = shifted - kRounding;
    // ln 2 in two parts, the first of which n times is exact.
    const Floats r = (exponent - n * 0.693359375F) + n * 2.12194440e-4F;
    Floats y = r * (1.0F / 5040) + kFactors[0];
#pragma GCC unroll 8
    for (int j = 1; j < 7; ++j) y = y * r + kFactors[j];
    const Ints power = (Ints)shifted << 23;  // The lowest bits of `shifted` are those of n
    y = (Floats)(((Ints)y + power) & inside);
    const Ints positive = value > 0.0F;
    *reinterpret_cast<Floats*>(x + i) =
        (Floats)((Ints)value & positive) - size * 0.5F * t * erfc * y;
  }
}

/// One block for some items; `kPhases` sums by turns: no addition waits for the one before.
template <class L, int kPhases, int kItems>
PLAIT_INLINE void tile_of_doubles(const float* columns, int64_t inputs, const double* x,
                                  int64_t x_stride, double* out, int64_t out_stride) {
  using Doubles = typename L::Doubles;
  constexpr int kParts = static_cast<int>(kLanes) / L::kDoubles;
  Doubles sum[kItems][kPhases][kParts] = {};
  auto add = [&](int64_t d, int phase) __attribute__((always_inline)) {
#pragma GCC unroll 8
    for (int j = 0; j < kParts; ++j) {
      const Doubles column = __builtin_convertvector(
          *reinterpret_cast<const typename L::HalfFloats*>(columns + d * kLanes + j * L::kDoubles),
          Doubles);
#pragma GCC unroll 4
      for (int i = 0; i < kItems; ++i) sum[i][phase][j] += x[i * x_stride + d] * column;
    }
  };
  int64_t d = 0;
  for (; d + kPhases <= inputs; d += kPhases) {
#pragma GCC unroll 4
    for (int phase = 0; phase < kPhases; ++phase) add(d + phase, phase);
  }
  for (; d < inputs; ++d) add(d, 0);
#pragma GCC unroll 4
  for (int i = 0; i < kItems; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < kParts; ++j) {
#pragma GCC unroll 4
      for (int phase = 1; phase < kPhases; ++phase) sum[i][0][j] += sum[i][phase][j];
      *reinterpret_cast<Doubles*>(out + i * out_stride + j * L::kDoubles) = sum[i][0][j];
    }
  }
}

template <class L, int kPhases, int kItems>
PLAIT_INLINE void all_doubles(const Panels& m, const double* x, int64_t x_stride, int64_t items,
                              double* out, int64_t out_stride) {
  for (int64_t b = 0; b < m.blocks; ++b) {
    const float* columns = m.values + b * m.inputs * kLanes;
    double* to = out + b * kLanes;
    int64_t i = 0;
    for (; i + kItems <= items; i += kItems)
      tile_of_doubles<L, kPhases, kItems>(columns, m.inputs, x + i * x_stride, x_stride,
                                          to + i * out_stride, out_stride);
    for (; i < items; ++i)
      tile_of_doubles<L, kPhases, 1>(columns, m.inputs, x + i * x_stride, x_stride,
                                     to + i * out_stride, out_stride);
  }
}

#define PLAIT_LOOPS(kind, target, Lanes, wide, phases, pair)                                     \
  target void multiply_##kind(const Panels& m, const float* x, int64_t x_stride, int64_t items,  \
                              float* out, int64_t out_stride) {                                  \
    all<Lanes, false, wide>(m, x, x_stride, items, out, out_stride);                             \
  }                                                                                              \
  target void distances_##kind(const Panels& m, const float* x, int64_t x_stride, int64_t items, \
                               float* out, int64_t out_stride) {                                 \
    all<Lanes, true, wide>(m, x, x_stride, items, out, out_stride);                              \
  }                                                                                              \
  target void kernels_##kind(const Panels& m, const float* x, int64_t x_stride, int64_t items,   \
                             double rate, double* out, float* rounded, int64_t out_stride) {     \
    all_kernels<Lanes, wide>(m, x, x_stride, items, rate, out, rounded, out_stride);             \
  }                                                                                              \
  target void doubles_##kind(const Panels& m, const double* x, int64_t x_stride, int64_t items,  \
                             double* out, int64_t out_stride) {                                  \
    all_doubles<Lanes, phases, pair>(m, x, x_stride, items, out, out_stride);                    \
  }                                                                                              \
  target void gelu_##kind(float* x, int64_t count) { gelu<Lanes>(x, count); }                    \
  constexpr VectorLoops k_##kind{#kind,          multiply_##kind, distances_##kind,              \
                                 kernels_##kind, doubles_##kind,  gelu_##kind};

PLAIT_LOOPS(baseline, , Lanes4, 1, 1, 1)
#if defined(__x86_64__)
PLAIT_LOOPS(avx2, __attribute__((target("avx2,fma"))), Lanes8, 2, 2, 1)
PLAIT_LOOPS(avx512, __attribute__((target("avx512f,fma"))), Lanes16, 4, 4, 2)
#endif

}  // namespace

const std::vector<const VectorLoops*>& vector_loops() {
  static const std::vector<const VectorLoops*> kAll = [] {
    std::vector<const VectorLoops*> out;
#if defined(__x86_64__)
    if (processor() >= Processor::kAvx512) out.push_back(&k_avx512);
    if (processor() >= Processor::kAvx2) out.push_back(&k_avx2);
#endif
    out.push_back(&k_baseline);
    return out;
  }();
  return kAll;
}

}  // namespace plait::runtime
