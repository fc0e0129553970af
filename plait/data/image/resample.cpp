#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "plait/core/error.h"
#include "plait/core/tensor_map.h"
#include "plait/data/image/image.h"

namespace plait::data {
namespace {

// Weights are fixed-point numbers with the precision that Pillow uses for bytes, so that results
// are equal to the bit.
constexpr int kPrecision = 32 - 8 - 2;

struct Filter {
  double support;
  double (*weight)(double x);
};

double triangle(double x) { return std::max(0.0, 1.0 - std::abs(x)); }

double cubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}

double sinc(double x) { return x == 0.0 ? 1.0 : std::sin(x * M_PI) / (x * M_PI); }
double lanczos(double x) { return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0; }

/// For each output position the first input position and its weights.
struct Taps {
  std::vector<int64_t> first;
  std::vector<int64_t> count;
  std::vector<int32_t> weights;  ///< `stride` per output position.
  int64_t stride = 0;
};

Taps make_taps(int64_t in, int64_t out, const Filter& filter) {
  double scale = static_cast<double>(in) / static_cast<double>(out);
  double stretch =
      std::max(scale, 1.0);  // The filter widens with the scale: this is what antialiases.
  double support = filter.support * stretch;
  Taps taps;
  taps.stride = static_cast<int64_t>(std::ceil(support)) * 2 + 1;
  taps.first.resize(static_cast<size_t>(out));
  taps.count.resize(static_cast<size_t>(out));
  taps.weights.resize(static_cast<size_t>(out * taps.stride));
  std::vector<double> row(static_cast<size_t>(taps.stride));
  for (int64_t i = 0; i < out; ++i) {
    double center = (static_cast<double>(i) + 0.5) * scale;
    int64_t first = std::max<int64_t>(static_cast<int64_t>(center - support + 0.5), 0);
    int64_t count = std::min<int64_t>(static_cast<int64_t>(center + support + 0.5), in) - first;
    double sum = 0;
    for (int64_t j = 0; j < count; ++j) {
      row[static_cast<size_t>(j)] =
          filter.weight((static_cast<double>(j + first) - center + 0.5) * (1.0 / stretch));
      sum += row[static_cast<size_t>(j)];
    }
    for (int64_t j = 0; j < count; ++j) {
      double w = row[static_cast<size_t>(j)] / sum * (1 << kPrecision);
      taps.weights[static_cast<size_t>(i * taps.stride + j)] =
          static_cast<int32_t>(w < 0 ? w - 0.5 : w + 0.5);
    }
    taps.first[static_cast<size_t>(i)] = first;
    taps.count[static_cast<size_t>(i)] = count;
  }
  return taps;
}

uint8_t to_byte(int32_t sum) { return static_cast<uint8_t>(std::clamp(sum >> kPrecision, 0, 255)); }

/// [H, W, 3] → [H, width, 3]
at::Tensor resample_rows(const at::Tensor& image, int64_t width, const Filter& filter) {
  Taps taps = make_taps(image.size(1), width, filter);
  at::Tensor out = at::empty({image.size(0), width, 3}, at::kByte);
  const uint8_t* from = image.const_data_ptr<uint8_t>();
  uint8_t* to = out.mutable_data_ptr<uint8_t>();
  int64_t in_stride = image.size(1) * 3;
  at::parallel_for(0, image.size(0), 16, [&](int64_t begin, int64_t end) {
    for (int64_t y = begin; y < end; ++y) {
      for (int64_t x = 0; x < width; ++x) {
        const uint8_t* p = from + y * in_stride + taps.first[static_cast<size_t>(x)] * 3;
        const int32_t* w = taps.weights.data() + x * taps.stride;
        int32_t sum[3] = {1 << (kPrecision - 1), 1 << (kPrecision - 1), 1 << (kPrecision - 1)};
        for (int64_t j = 0, n = taps.count[static_cast<size_t>(x)]; j < n; ++j) {
          for (int c = 0; c < 3; ++c) sum[c] += p[3 * j + c] * w[j];
        }
        for (int c = 0; c < 3; ++c) to[(y * width + x) * 3 + c] = to_byte(sum[c]);
      }
    }
  });
  return out;
}

/// [H, W, 3] → [height, W, 3]
at::Tensor resample_columns(const at::Tensor& image, int64_t height, const Filter& filter) {
  Taps taps = make_taps(image.size(0), height, filter);
  at::Tensor out = at::empty({height, image.size(1), 3}, at::kByte);
  const uint8_t* from = image.const_data_ptr<uint8_t>();
  uint8_t* to = out.mutable_data_ptr<uint8_t>();
  int64_t row = image.size(1) * 3;
  at::parallel_for(0, height, 4, [&](int64_t begin, int64_t end) {
    std::vector<int32_t> sums(static_cast<size_t>(row));
    int32_t* sum = sums.data();
    for (int64_t y = begin; y < end; ++y) {
      std::fill(sums.begin(), sums.end(), 1 << (kPrecision - 1));
      for (int64_t j = 0, n = taps.count[static_cast<size_t>(y)]; j < n; ++j) {
        const uint8_t* p = from + (taps.first[static_cast<size_t>(y)] + j) * row;
        int32_t w = taps.weights[static_cast<size_t>(y * taps.stride + j)];
#pragma omp simd
        for (int64_t x = 0; x < row; ++x) sum[x] += p[x] * w;
      }
      for (int64_t x = 0; x < row; ++x) to[y * row + x] = to_byte(sum[x]);
    }
  });
  return out;
}

at::Tensor resample_nearest(const at::Tensor& image, int64_t height, int64_t width) {
  auto index = [](int64_t in, int64_t out) {
    at::Tensor from = at::empty({out}, at::kLong);
    auto f = from.accessor<int64_t, 1>();
    double step = static_cast<double>(in) / static_cast<double>(out);
    // Pillow adds the step up, which rounds otherwise than a product where a position falls on a
    // pixel's edge.
    double position = step * 0.5;
    for (int64_t i = 0; i < out; ++i, position += step)
      f[i] = std::min(static_cast<int64_t>(position), in - 1);
    return from;
  };
  return image.index_select(0, index(image.size(0), height))
      .index_select(1, index(image.size(1), width));
}

}  // namespace

Resample resample_from_string(const std::string& name) {
  for (Resample r :
       {Resample::kNearest, Resample::kLanczos, Resample::kBilinear, Resample::kBicubic}) {
    if (to_string(r) == name) return r;
  }
  fail(ErrorCode::kInvalidArgument, "image",
       "expected resample nearest, lanczos, bilinear or bicubic, got \"" + name + "\"");
}

std::string to_string(Resample resample) {
  constexpr const char* kNames[] = {"nearest", "lanczos", "bilinear", "bicubic"};
  return kNames[static_cast<int>(resample)];
}

at::Tensor resize_image(const at::Tensor& image, int64_t height, int64_t width, Resample resample) {
  if (image.dim() != 3 || image.size(2) != 3 || image.scalar_type() != at::kByte ||
      image.numel() == 0) {
    fail(ErrorCode::kInvalidArgument, "image", "expected uint8 [H, W, 3], got " + describe(image));
  }
  require(height > 0 && width > 0 && height <= 32768 && width <= 32768, "image",
          "expected a target size from 1 to 32768 pixels");
  at::Tensor out = image.contiguous();
  if (resample == Resample::kNearest) return resample_nearest(out, height, width);
  Filter filter = resample == Resample::kLanczos   ? Filter{3.0, lanczos}
                  : resample == Resample::kBicubic ? Filter{2.0, cubic}
                                                   : Filter{1.0, triangle};
  // The order matters in the last bit, since bytes are rounded in between; this is the choice that
  // Pillow 13 makes.
  bool columns_first = height < out.size(0) && out.size(0) - height > 2 * (out.size(1) - width);
  if (columns_first) out = resample_columns(out, height, filter);
  if (width != out.size(1)) out = resample_rows(out, width, filter);
  if (height != out.size(0)) out = resample_columns(out, height, filter);
  return out;
}

}  // namespace plait::data
