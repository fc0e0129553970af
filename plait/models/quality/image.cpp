#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "plait/core/error.h"
#include "plait/models/quality/quality.h"

namespace plait::models {
namespace {

constexpr int64_t kSide = 256;

/// Grey values 0..255 [H, W] float, the shorter side at most kSide.
at::Tensor grey(const at::Tensor& image) {
  at::Tensor x = image.detach().to(at::kCPU);
  if (x.dim() == 2) x = x.unsqueeze(-1);
  bool planes =
      x.dim() == 3 && x.is_floating_point() && (x.size(0) == 3 || x.size(0) == 1) && x.size(2) != 3;
  planes = planes || (x.dim() == 3 && x.is_floating_point() && x.size(0) == 3);
  if (x.dim() != 3 || (!planes && x.size(2) != 3 && x.size(2) != 1)) {
    fail(ErrorCode::kInvalidArgument, "image quality",
         "expected uint8 [H, W, 3] or float [3, H, W], got " + describe(image));
  }
  if (planes) x = x.permute({1, 2, 0});
  bool unit = x.is_floating_point();
  x = x.to(at::kFloat);
  if (x.size(2) == 3) {
    x = at::matmul(x, at::tensor({0.299f, 0.587f, 0.114f}));
  } else {
    x = x.squeeze(2);
  }
  if (unit) x = at::nan_to_num(x, 0, 1, 0) * 255;
  x = x.clamp(0, 255);
  int64_t h = x.size(0), w = x.size(1), side = std::min(h, w);
  if (side > kSide + kSide / 4) {
    double scale = static_cast<double>(kSide) / static_cast<double>(side);
    x = at::_upsample_bilinear2d_aa(x.unsqueeze(0).unsqueeze(0),
                                    {std::max<int64_t>(1, std::llround(scale * h)),
                                     std::max<int64_t>(1, std::llround(scale * w))},
                                    false)
            .squeeze(0)
            .squeeze(0);
  }
  return x.contiguous();
}

double quantile(std::vector<float>& values, double q) {
  if (values.empty()) return 0;
  size_t k = static_cast<size_t>(q * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + static_cast<int64_t>(k), values.end());
  return values[k];
}

/// Immerkær 1996 on blocks of 8 × 8: the calm blocks say how much noise there is. Standard
/// deviation on 0..255.
double noise_level(const float* p, int64_t h, int64_t w) {
  std::vector<float> blocks;
  for (int64_t y0 = 1; y0 + 8 < h; y0 += 8) {
    for (int64_t x0 = 1; x0 + 8 < w; x0 += 8) {
      double sum = 0;
      for (int64_t y = y0; y < y0 + 8; ++y) {
        const float *a = p + (y - 1) * w, *b = a + w, *c = b + w;
        for (int64_t x = x0; x < x0 + 8; ++x) {
          sum += std::fabs(a[x - 1] + a[x + 1] + c[x - 1] + c[x + 1] -
                           2 * (a[x] + c[x] + b[x - 1] + b[x + 1]) + 4 * b[x]);
        }
      }
      blocks.push_back(static_cast<float>(sum / 64 * std::sqrt(M_PI / 2) / 6));
    }
  }
  return quantile(blocks, 0.25);
}

/// Share of a step's height that its steepest pixel takes, at the blocks with the sharpest edges: 1
/// for a perfect step, about 0.4/σ under a Gaussian blur of σ pixels.
double edge_slope(const float* p, int64_t h, int64_t w, double noise) {
  std::vector<float> slopes;
  constexpr int64_t kBlock = 16;
  for (int64_t y0 = 0; y0 + kBlock <= h; y0 += 8) {
    for (int64_t x0 = 0; x0 + kBlock <= w; x0 += 8) {
      float low = 255, high = 0, steep = 0;
      for (int64_t y = y0; y < y0 + kBlock; ++y) {
        const float* row = p + y * w;
        for (int64_t x = x0; x < x0 + kBlock; ++x) {
          low = std::min(low, row[x]);
          high = std::max(high, row[x]);
          if (x + 1 < x0 + kBlock) steep = std::max(steep, std::fabs(row[x + 1] - row[x]));
          if (y + 1 < y0 + kBlock) steep = std::max(steep, std::fabs(row[x + w] - row[x]));
        }
      }
      double range = high - low - 4 * noise;
      if (range >= 24)
        slopes.push_back(static_cast<float>(std::clamp((steep - 4 * noise) / range, 0.0, 1.0)));
    }
  }
  if (slopes.size() < 4) return -1;
  return quantile(slopes, 0.8);
}

}  // namespace

Quality image_quality(const at::Tensor& image) {
  if (!image.defined() || image.numel() == 0)
    return {0, {{"sharpness", 0}, {"noise", 0}, {"exposure", 0}, {"entropy", 0}}};
  at::Tensor x = grey(image);
  int64_t h = x.size(0), w = x.size(1), n = h * w;
  const float* p = x.data_ptr<float>();

  std::array<int64_t, 256> histogram{};
  for (int64_t i = 0; i < n; ++i) ++histogram[static_cast<size_t>(p[i] + 0.5f) & 255];
  double entropy = 0, count = 0;
  int low = -1, high = 0;
  for (int v = 0; v < 256; ++v) {
    double share = static_cast<double>(histogram[v]) / static_cast<double>(n);
    if (share > 0) entropy -= share * std::log2(share);
    count += share;
    if (low < 0 && count >= 0.02) low = v;
    if (count <= 0.98) high = v;
  }
  double range = std::max(0, high - low) / 255.0;
  double black =
      static_cast<double>(histogram[0] + histogram[1] + histogram[2]) / static_cast<double>(n);
  double white = static_cast<double>(histogram[253] + histogram[254] + histogram[255]) /
                 static_cast<double>(n);

  double noise = h > 10 && w > 10 ? noise_level(p, h, w) : 0;
  double slope = edge_slope(p, h, w, noise);
  double sharpness = slope < 0 ? 0.3 : std::clamp((slope - 0.05) / 0.75, 0.02, 1.0);
  double calm = std::exp(-noise / 14);
  double exposure =
      std::clamp(0.15 + range / 0.5, 0.0, 1.0) * (1 - 0.5 * black) * (1 - 0.35 * white);
  double rich = std::clamp(0.25 + entropy / 5, 0.0, 1.0);
  double score = std::pow(sharpness, 0.7) * calm * std::sqrt(exposure) * std::sqrt(rich);
  return {std::clamp(score, 0.0, 1.0),
          {{"sharpness", sharpness}, {"noise", calm}, {"exposure", exposure}, {"entropy", rich}}};
}

}  // namespace plait::models
