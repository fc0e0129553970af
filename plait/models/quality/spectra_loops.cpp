#include <algorithm>
#include <cstring>

#include "plait/models/quality/audio_loops.h"
#include "plait/models/quality/processors.h"

namespace plait::models {
namespace loops {
namespace {

using Plan = BandSpectra::Plan;

/// As many frames as a register holds, one sample or number of each.
template <int kBytes>
struct Frames {
  typedef float Type __attribute__((vector_size(kBytes), aligned(kBytes), may_alias));
  typedef float Anywhere __attribute__((vector_size(kBytes), aligned(4), may_alias));
  static constexpr int64_t kCount = kBytes / 4;
};

/// A table [hop, stride] of `rows` times `hop` samples: a frame's sample beside the next frame's.
PLAIT_INLINE void transpose(const float* x, int64_t n, int64_t hop, int64_t rows, int64_t stride,
                            float* to) {
  typedef float Four __attribute__((vector_size(16), aligned(4), may_alias));
  for (int64_t r = 0; r < rows; r += 4) {
    int64_t j = 0;
    if ((r + 4) * hop <= n) {
      for (; j + 4 <= hop; j += 4) {
        const float* from = x + r * hop + j;
        const Four a = *reinterpret_cast<const Four*>(from),
                   b = *reinterpret_cast<const Four*>(from + hop),
                   c = *reinterpret_cast<const Four*>(from + 2 * hop),
                   d = *reinterpret_cast<const Four*>(from + 3 * hop);
        const Four ab = __builtin_shufflevector(a, b, 0, 4, 1, 5),
                   cd = __builtin_shufflevector(c, d, 0, 4, 1, 5),
                   ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7),
                   cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
        float* out = to + j * stride + r;
        *reinterpret_cast<Four*>(out) = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
        *reinterpret_cast<Four*>(out + stride) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
        *reinterpret_cast<Four*>(out + 2 * stride) =
            __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5);
        *reinterpret_cast<Four*>(out + 3 * stride) =
            __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7);
      }
    }
    for (; j < hop; ++j) {
      for (int64_t i = r; i < r + 4; ++i) to[j * stride + i] = i * hop + j < n ? x[i * hop + j] : 0;
    }
  }
}

/// Transforms of a prime's length of real numbers, for two columns at once: real and imaginary
/// parts of frequencies 0 to half. u and d are sums and differences of samples at both sides.
template <class V>
PLAIT_INLINE void prime_transforms(const Plan& plan, const V* u0, const V* d0, const V* u1,
                                   const V* d1, const V& first0, const V& first1, V* out0,
                                   V* out1) {
  constexpr int64_t kTogether = BandSpectra::kTogether;
  V sum0 = first0, sum1 = first1;
  for (int64_t a = 0; a < plan.half; ++a) sum0 += u0[a], sum1 += u1[a];
  out0[0] = sum0, out0[1] = V{}, out1[0] = sum1, out1[1] = V{};
  for (int64_t k = 0; k < plan.half; k += kTogether) {
    V re0[kTogether], im0[kTogether], re1[kTogether], im1[kTogether];
#pragma GCC unroll 4
    for (int64_t i = 0; i < kTogether; ++i)
      re0[i] = first0, re1[i] = first1, im0[i] = V{}, im1[i] = V{};
    const float *cosine = plan.cosine.data() + k * plan.half,
                *sine = plan.sine.data() + k * plan.half;
    for (int64_t a = 0; a < plan.half; ++a) {
      const V p = u0[a], q = d0[a], r = u1[a], s = d1[a];
#pragma GCC unroll 4
      for (int64_t i = 0; i < kTogether; ++i) {
        const float c = cosine[i * plan.half + a], t = sine[i * plan.half + a];
        re0[i] += p * c;
        im0[i] -= q * t;
        re1[i] += r * c;
        im1[i] -= s * t;
      }
    }
    for (int64_t i = 0; i < kTogether && k + i < plan.half; ++i) {
      out0[2 * (k + i + 1)] = re0[i], out0[2 * (k + i + 1) + 1] = im0[i];
      out1[2 * (k + i + 1)] = re1[i], out1[2 * (k + i + 1) + 1] = im1[i];
    }
  }
}

/// z · (c − i s)
template <class V>
PLAIT_INLINE void turned(const V& re, const V& im, const float* circle, V* out) {
  out[0] = re * circle[0] + im * circle[1];
  out[1] = im * circle[0] - re * circle[1];
}

/// One step of Stockham's transform: z and out hold complex numbers.
template <class V>
PLAIT_INLINE void step(const Plan::Stage& stage, const V* z, V* out) {
  const int64_t radix = stage.radix, m = stage.groups, s = stage.stride;
  for (int64_t p = 0; p < m; ++p) {
    const float* turn = stage.turn.data() + 2 * p * radix;
    for (int64_t q = 0; q < s; ++q) {
      auto in = [&](int64_t j) __attribute__((always_inline)) {
        return z + 2 * (q + s * (p + j * m));
      };
      V* to = out + 2 * (q + s * radix * p);
      const V* z0 = in(0);
      if (radix == 2) {
        const V* z1 = in(1);
        to[0] = z0[0] + z1[0], to[1] = z0[1] + z1[1];
        turned<V>(z0[0] - z1[0], z0[1] - z1[1], turn + 2, to + 2 * s);
      } else if (radix == 4) {
        const V *z1 = in(1), *z2 = in(2), *z3 = in(3);
        const V even = z0[0] + z2[0], even_i = z0[1] + z2[1], odd = z1[0] + z3[0],
                odd_i = z1[1] + z3[1], low = z0[0] - z2[0], low_i = z0[1] - z2[1],
                high = z1[0] - z3[0], high_i = z1[1] - z3[1];
        to[0] = even + odd, to[1] = even_i + odd_i;
        turned<V>(low + high_i, low_i - high, turn + 2, to + 2 * s);
        turned<V>(even - odd, even_i - odd_i, turn + 4, to + 4 * s);
        turned<V>(low - high_i, low_i + high, turn + 6, to + 6 * s);
      } else {
        V sum = z0[0], sum_i = z0[1];
        for (int64_t j = 1; j < radix; ++j) sum += in(j)[0], sum_i += in(j)[1];
        to[0] = sum, to[1] = sum_i;
        for (int64_t k = 1; 2 * k < radix; ++k) {
          V re = z0[0], im = z0[1], side = V{}, side_i = V{};
          for (int64_t j = 1, angle = k; 2 * j < radix; ++j, angle = (angle + k) % radix) {
            const V *a = in(j), *b = in(radix - j);
            const float c = stage.circle[2 * angle], t = stage.circle[2 * angle + 1];
            re += (a[0] + b[0]) * c, im += (a[1] + b[1]) * c;
            side += (a[0] - b[0]) * t, side_i += (a[1] - b[1]) * t;
          }
          turned<V>(re + side_i, im - side, turn + 2 * k, to + 2 * k * s);
          turned<V>(re - side_i, im + side, turn + 2 * (radix - k), to + 2 * (radix - k) * s);
        }
      }
    }
  }
}

template <int kBytes>
PLAIT_INLINE void powers_of(const Plan& plan, const float* x, int64_t n, const int64_t* whole,
                            int64_t count, float* bands, float* all) {
  using V = typename Frames<kBytes>::Type;
  using Anywhere = typename Frames<kBytes>::Anywhere;
  constexpr int64_t kLanes = Frames<kBytes>::kCount;
  const int64_t half = plan.half, rest = plan.rest, bins = plan.size / 2 + 1;
  const int64_t reach = (plan.size - 1) / plan.hop, rows = (kLanes + reach + 3) / 4 * 4;
  const int64_t spectrum = 2 * (half + 1), pairs = rest + rest % 2;
  // One piece of memory for all, in whole registers.
  const int64_t in_table = (plan.hop * rows + kLanes - 1) / kLanes, in_sides = 4 * half,
                in_columns = pairs * spectrum, in_rest = 2 * rest;
  std::vector<char> memory(
      static_cast<size_t>((in_table + in_sides + in_columns + 2 * in_rest + bins + 2) * kBytes));
  V* table = reinterpret_cast<V*>((reinterpret_cast<uintptr_t>(memory.data()) + kBytes - 1) /
                                  kBytes * kBytes);
  V *sides = table + in_table, *columns = sides + in_sides, *ping = columns + in_columns,
    *pong = ping + in_rest, *power = pong + in_rest;
  const float* samples = reinterpret_cast<const float*>(table);
  std::vector<int32_t> place;
  for (int64_t row = 0; row <= reach; ++row) {
    for (int64_t j = 0; j < plan.hop; ++j) place.push_back(static_cast<int32_t>(j * rows + row));
  }
  auto sample = [&](int64_t i, V & to) __attribute__((always_inline)) {
    to = *reinterpret_cast<const Anywhere*>(samples + place[i]) * plan.window[i];
  };
  for (int64_t done = 0; done < count;) {
    const int64_t frame = whole[done];
    transpose(x + frame * plan.hop, n - frame * plan.hop, plan.hop, rows, rows,
              reinterpret_cast<float*>(table));
    V *u0 = sides, *d0 = u0 + half, *u1 = d0 + half, *d1 = u1 + half;
    for (int64_t b = 0; b < rest; b += 2) {
      const int64_t other = b + 1 < rest ? b + 1 : b;
      for (int64_t a = 1; a <= half; ++a) {
        V p, q, r, s;
        sample(a * rest + b, p), sample((plan.prime - a) * rest + b, q);
        sample(a * rest + other, r), sample((plan.prime - a) * rest + other, s);
        u0[a - 1] = p + q, d0[a - 1] = p - q, u1[a - 1] = r + s, d1[a - 1] = r - s;
      }
      V first0, first1;
      sample(b, first0), sample(other, first1);
      prime_transforms<V>(plan, u0, d0, u1, d1, first0, first1, columns + b * spectrum,
                          columns + (b + 1) * spectrum);
    }
    for (int64_t k = 0; k <= half; ++k) {
      V *z = ping, *out = pong;
      for (int64_t b = 0; b < rest; ++b) {
        const V* from = columns + b * spectrum + 2 * k;
        turned<V>(from[0], from[1], plan.turn.data() + 2 * (k * rest + b), z + 2 * b);
      }
      for (const Plan::Stage& stage : plan.stages) {
        step<V>(stage, z, out);
        std::swap(z, out);
      }
      for (int64_t j = 0; j < rest; ++j) {
        const int64_t bin = k + plan.prime * j;
        power[2 * bin <= plan.size ? bin : plan.size - bin] =
            z[2 * j] * z[2 * j] + z[2 * j + 1] * z[2 * j + 1];
      }
    }
    V sum = {};
    for (int64_t k = 0; k < bins; ++k) sum += power[k];
    const int64_t first = done;
    auto keep = [&](const V& numbers, float* to) __attribute__((always_inline)) {
      for (done = first; done < count && whole[done] < frame + kLanes; ++done)
        to[done] = numbers[whole[done] - frame];
    };
    for (int64_t own = 0, k = 0; own < plan.bands; ++own) {
      while (plan.band_of_bin[k] != own) ++k;
      V total = {};
      for (; k < bins && plan.band_of_bin[k] == own; ++k) total += power[k];
      keep(total, bands + own * count);
    }
    keep(sum, all);
  }
}

}  // namespace
}  // namespace loops

PLAIT_VARIANTS(void, powers_of,
               (const BandSpectra::Plan& plan, const float* x, int64_t n, const int64_t* whole,
                int64_t count, float* bands, float* all),
               (plan, x, n, whole, count, bands, all))

}  // namespace plait::models
