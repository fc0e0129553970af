#include "plait/models/quality/image_loops.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "plait/models/quality/processors.h"

namespace plait::models {
namespace loops {
namespace {

// Types of vectors stand outside of templates, whose own lose the alignment.
typedef uint8_t Sixteen __attribute__((vector_size(16), aligned(1), may_alias));
template <int kBytes>
struct Wide {
  typedef uint8_t Bytes __attribute__((vector_size(kBytes), aligned(1), may_alias));
};

template <int kBytes>
PLAIT_INLINE void split(const uint8_t* rgb, int64_t n, uint8_t* planes) {
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    // Types spelled out: `auto` would forget that the address is any.
    const uint8_t* from = rgb + 3 * i;
    const Sixteen a = *reinterpret_cast<const Sixteen*>(from),
                  b = *reinterpret_cast<const Sixteen*>(from + 16),
                  c = *reinterpret_cast<const Sixteen*>(from + 32);
    // Of a and b the first eleven or ten of a plane, the rest from c.
    const Sixteen red = __builtin_shufflevector(a, b, 0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 0, 0,
                                                0, 0, 0),
                  green = __builtin_shufflevector(a, b, 1, 4, 7, 10, 13, 16, 19, 22, 25, 28, 31, 0,
                                                  0, 0, 0, 0),
                  blue = __builtin_shufflevector(a, b, 2, 5, 8, 11, 14, 17, 20, 23, 26, 29, 0, 0, 0,
                                                 0, 0, 0);
    *reinterpret_cast<Sixteen*>(planes + i) =
        __builtin_shufflevector(red, c, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 17, 20, 23, 26, 29);
    *reinterpret_cast<Sixteen*>(planes + n + i) =
        __builtin_shufflevector(green, c, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 18, 21, 24, 27, 30);
    *reinterpret_cast<Sixteen*>(planes + 2 * n + i) =
        __builtin_shufflevector(blue, c, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 19, 22, 25, 28, 31);
  }
  for (; i < n; ++i) {
    for (int64_t c = 0; c < 3; ++c) planes[c * n + i] = rgb[3 * i + c];
  }
}

/// Sums of products as processors of its kind give them to a product of matrices.
template <int kBytes>
PLAIT_INLINE float plus_product(float sum, float a, float b) {
  if constexpr (kBytes > 16) return __builtin_fmaf(a, b, sum);
  return sum + a * b;
}

template <int kBytes, class T>
PLAIT_INLINE void grey_of(const Planes<T>& x, float* grey) {
  const T *red = x.red, *green = x.green, *blue = x.blue;
  const int64_t n = x.size();
  for (int64_t i = 0; i < n; ++i) {
    grey[i] = plus_product<kBytes>(plus_product<kBytes>(0.299F * static_cast<float>(red[i]),
                                                        static_cast<float>(green[i]), 0.587F),
                                   static_cast<float>(blue[i]), 0.114F);
  }
}

/// Half is rounded up.
PLAIT_INLINE uint32_t whole(uint8_t value) { return value; }
PLAIT_INLINE uint32_t whole(float value) {
  const auto below = static_cast<int32_t>(value);
  return static_cast<uint32_t>(below + (value - static_cast<float>(below) >= 0.5F));
}

template <int kBytes, class T>
PLAIT_INLINE void colours_of(const Planes<T>& x, uint32_t* out) {
  const T *red = x.red, *green = x.green, *blue = x.blue;
  const int64_t n = x.size();
  for (int64_t i = 0; i < n; ++i)
    out[i] = whole(red[i]) << 16 | whole(green[i]) << 8 | whole(blue[i]);
}

PLAIT_INLINE uint8_t rounded(uint8_t value) { return value; }
PLAIT_INLINE uint8_t rounded(float value) { return static_cast<uint8_t>(value + 0.5F); }

template <class T>
PLAIT_INLINE T most(T a, T b) {
  return a > b ? a : b;
}
template <class T>
PLAIT_INLINE T least(T a, T b) {
  return a < b ? a : b;
}
template <class T>
PLAIT_INLINE T distance(T a, T b) {
  return static_cast<T>(most(a, b) - least(a, b));
}

template <int kBytes, class T>
PLAIT_INLINE void light_of(const Planes<T>& x, float white, uint8_t* highest, uint8_t* coloured,
                           uint8_t* shaded) {
  const bool all = white > 255;
  const T limit = all ? T{} : static_cast<T>(white);
  // Bytes that are written could lie anywhere, in x itself as well, as far as a compiler knows.
  const int64_t h = x.h, w = x.w;
  const T *reds = x.red, *greens = x.green, *blues = x.blue;
  for (int64_t y = 0; y < h; ++y) {
    const T *red = reds + y * w, *green = greens + y * w, *blue = blues + y * w;
    uint8_t* __restrict high = highest + y * w, * __restrict colour = coloured + y * w, * __restrict shade = shaded + y * w;
    for (int64_t i = 0; i < w; ++i) high[i] = rounded(most(red[i], most(green[i], blue[i])));
    if (!all) {
      for (int64_t i = 0; i < w; ++i)
        colour[i] = least(red[i], least(green[i], blue[i])) < limit ? 1 : 0;
    }
    shade[0] = 0;
    // A flat colour with a channel at its end was painted so; a shade was cut off.
    for (int64_t i = 1; i < w; ++i) {
      const T step = most(distance(red[i], red[i - 1]),
                          most(distance(green[i], green[i - 1]), distance(blue[i], blue[i - 1])));
      const uint8_t differs = step >= T{1} ? 1 : 0;
      shade[i] = step <= T{24} ? differs : 0;
    }
    for (int64_t i = 1; i < w; ++i) {
      const uint8_t both = least(high[i], high[i - 1]), mark = colour[i] & colour[i - 1];
      shade[i] = both >= 254 ? shade[i] & mark : 0;
    }
  }
}

template <int kBytes>
PLAIT_INLINE int64_t count_between(const uint8_t* values, const uint8_t* marked, int64_t n, int low,
                                   int high) {
  using Bytes = typename Wide<kBytes>::Bytes;
  const auto least = static_cast<uint8_t>(low), reach = static_cast<uint8_t>(high - low);
  int64_t count = 0, i = 0;
  while (i + kBytes <= n) {
    // Counted in bytes as long as they last.
    Bytes found = {};
    for (int k = 0; k < 255 && i + kBytes <= n; ++k, i += kBytes) {
      const Bytes value = *reinterpret_cast<const Bytes*>(values + i) - least;
      found += *reinterpret_cast<const Bytes*>(marked + i) & (Bytes)(value <= reach);
    }
    for (int k = 0; k < kBytes; ++k) count += found[k];
  }
  for (; i < n; ++i) count += static_cast<uint8_t>(values[i] - least) <= reach ? marked[i] : 0;
  return count;
}

template <int kBytes>
PLAIT_INLINE void histogram_of(const float* grey, int64_t n, int64_t* out) {
  // Neighbours are alike: counts of one number after the other would wait for each other.
  constexpr size_t kTables = 4;
  std::array<std::array<int64_t, 256>, kTables> counts{};
  constexpr int64_t kRun = 1024;
  std::array<uint8_t, kRun> bins;
  for (int64_t begin = 0; begin < n; begin += kRun) {
    const auto run = static_cast<size_t>(std::min(kRun, n - begin));
    for (size_t i = 0; i < run; ++i)
      bins[i] = static_cast<uint8_t>(grey[begin + static_cast<int64_t>(i)] + 0.5F);
    size_t i = 0;
    for (; i + kTables <= run; i += kTables) {
      ++counts[0][bins[i]];
      ++counts[1][bins[i + 1]];
      ++counts[2][bins[i + 2]];
      ++counts[3][bins[i + 3]];
    }
    for (; i < run; ++i) ++counts[0][bins[i]];
  }
  for (size_t v = 0; v < 256; ++v)
    out[v] = counts[0][v] + counts[1][v] + counts[2][v] + counts[3][v];
}

template <int kBytes>
PLAIT_INLINE std::vector<float> noises_of(const float* grey, int64_t h, int64_t w) {
  std::vector<float> out;
  std::vector<double> sums(static_cast<size_t>(w));
  double* sum = sums.data();
  for (int64_t top = 1; top + 8 < h; top += 8) {
    std::fill(sums.begin(), sums.end(), 0.0);
    for (int64_t y = top; y < top + 8; ++y) {
      const float *a = grey + (y - 1) * w, *b = a + w, *c = b + w;
      for (int64_t x = 1; x < w - 1; ++x) {
        // In the order that scores were chosen with: floats round.
        const float corners = ((a[x - 1] + a[x + 1]) + c[x - 1]) + c[x + 1];
        const float sides = ((a[x] + c[x]) + b[x - 1]) + b[x + 1];
        sum[x] += static_cast<double>(std::fabs((corners - 2 * sides) + 4 * b[x]));
      }
    }
    for (int64_t left = 1; left + 8 < w; left += 8) {
      double all = 0;
      for (int64_t x = left; x < left + 8; ++x) all += sum[x];
      out.push_back(static_cast<float>(all / 64 * std::sqrt(M_PI / 2) / 6));
    }
  }
  return out;
}

template <int kBytes>
PLAIT_INLINE void sum_steps(const float* grey, int64_t h, int64_t w, double* along, double* down) {
  std::fill_n(along, w, 0.0);
  std::fill_n(down, h, 0.0);
  for (int64_t y = 0; y < h; ++y) {
    const float* row = grey + y * w;
    for (int64_t x = 0; x + 1 < w; ++x)
      along[x] += static_cast<double>(std::min(32.F, std::fabs(row[x + 1] - row[x])));
    if (y + 1 == h) break;
    // Eight sums at once, so that the compiler may use vectors.
    std::array<double, 8> sums{};
    int64_t x = 0;
    for (; x + 8 <= w; x += 8) {
      for (int64_t k = 0; k < 8; ++k)
        sums[static_cast<size_t>(k)] +=
            static_cast<double>(std::min(32.F, std::fabs(row[x + k + w] - row[x + k])));
    }
    for (; x < w; ++x)
      sums[0] += static_cast<double>(std::min(32.F, std::fabs(row[x + w] - row[x])));
    for (const double sum : sums) down[y] += sum;
  }
}

template <int kBytes>
PLAIT_INLINE std::vector<Block> blocks_of(const float* grey, int64_t h, int64_t w) {
  constexpr int64_t kBlock = 16, kStep = 8;
  std::vector<Block> out;
  // Of every column of a row of blocks.
  std::vector<float> columns(static_cast<size_t>(4 * w));
  float *low = columns.data(), *high = low + w, *along = high + w, *down = along + w;
  for (int64_t top = 0; top + kBlock <= h; top += kStep) {
    std::fill_n(low, w, 255.F);
    std::fill_n(high, 3 * w, 0.F);
    for (int64_t y = top; y < top + kBlock; ++y) {
      const float* row = grey + y * w;
      for (int64_t x = 0; x < w; ++x) {
        low[x] = std::min(low[x], row[x]);
        high[x] = std::max(high[x], row[x]);
      }
      for (int64_t x = 0; x + 1 < w; ++x)
        along[x] = std::max(along[x], std::fabs(row[x + 1] - row[x]));
      if (y + 1 == top + kBlock) break;
      for (int64_t x = 0; x < w; ++x) down[x] = std::max(down[x], std::fabs(row[x + w] - row[x]));
    }
    for (int64_t left = 0; left + kBlock <= w; left += kStep) {
      Block block{255, 0, 0};
      for (int64_t x = left; x < left + kBlock; ++x) {
        block.least = std::min(block.least, low[x]);
        block.most = std::max(block.most, high[x]);
        block.steep = std::max(block.steep, down[x]);
      }
      for (int64_t x = left; x + 1 < left + kBlock; ++x)
        block.steep = std::max(block.steep, along[x]);
      out.push_back(block);
    }
  }
  return out;
}

}  // namespace
}  // namespace loops

PLAIT_VARIANTS(void, split, (const uint8_t* rgb, int64_t n, uint8_t* planes), (rgb, n, planes))
PLAIT_VARIANTS(void, grey_of, (const Planes<uint8_t>& x, float* grey), (x, grey))
PLAIT_VARIANTS(void, grey_of, (const Planes<float>& x, float* grey), (x, grey))
PLAIT_VARIANTS(void, colours_of, (const Planes<uint8_t>& x, uint32_t* out), (x, out))
PLAIT_VARIANTS(void, colours_of, (const Planes<float>& x, uint32_t* out), (x, out))
PLAIT_VARIANTS(void, light_of,
               (const Planes<uint8_t>& x, float white, uint8_t* highest, uint8_t* coloured,
                uint8_t* shaded),
               (x, white, highest, coloured, shaded))
PLAIT_VARIANTS(void, light_of,
               (const Planes<float>& x, float white, uint8_t* highest, uint8_t* coloured,
                uint8_t* shaded),
               (x, white, highest, coloured, shaded))
PLAIT_VARIANTS(int64_t, count_between,
               (const uint8_t* values, const uint8_t* marked, int64_t n, int low, int high),
               (values, marked, n, low, high))
PLAIT_VARIANTS(void, histogram_of, (const float* grey, int64_t n, int64_t* out), (grey, n, out))
PLAIT_VARIANTS(std::vector<float>, noises_of, (const float* grey, int64_t h, int64_t w),
               (grey, h, w))
PLAIT_VARIANTS(void, sum_steps,
               (const float* grey, int64_t h, int64_t w, double* along, double* down),
               (grey, h, w, along, down))
PLAIT_VARIANTS(std::vector<Block>, blocks_of, (const float* grey, int64_t h, int64_t w),
               (grey, h, w))

}  // namespace plait::models
