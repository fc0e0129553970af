#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <unordered_map>
#include <vector>

#include "plait/core/error.h"
#include "plait/models/quality/quality.h"

namespace plait::models {
namespace {

constexpr int64_t kSide = 256;

/// Values 0..255 [H, W, C] float, C 1 or 3, the shorter side at most kSide and a quarter.
at::Tensor prepare(const at::Tensor& image) {
  at::Tensor x = image.detach().to(at::kCPU);
  if (x.dim() == 2) x = x.unsqueeze(-1);
  bool planes = x.dim() == 3 && x.is_floating_point() &&
                (x.size(0) == 3 || (x.size(0) == 1 && x.size(2) != 3));
  if (x.dim() != 3 || (!planes && x.size(2) != 3 && x.size(2) != 1)) {
    fail(ErrorCode::kInvalidArgument, "image quality",
         "expected uint8 [H, W, 3] or float [3, H, W], got " + describe(image));
  }
  if (!planes) x = x.permute({2, 0, 1});
  bool unit = x.is_floating_point();
  x = x.to(at::kFloat);
  if (unit) x = at::nan_to_num(x, 0, 1, 0) * 255;
  x = x.clamp(0, 255);
  int64_t h = x.size(1), w = x.size(2), side = std::min(h, w);
  if (side > kSide + kSide / 4) {
    double scale = static_cast<double>(kSide) / static_cast<double>(side);
    x = at::_upsample_bilinear2d_aa(x.unsqueeze(0),
                                    {std::max<int64_t>(1, std::llround(scale * h)),
                                     std::max<int64_t>(1, std::llround(scale * w))},
                                    false)
            .squeeze(0);
  }
  return x.permute({1, 2, 0}).contiguous();
}

at::Tensor grey(const at::Tensor& x) {
  if (x.size(2) == 1) return x.squeeze(2).contiguous();
  return at::matmul(x, at::tensor({0.299f, 0.587f, 0.114f})).contiguous();
}

/// Whether the thing shown lies on white paper: a third of the border is white.
bool on_paper(const at::Tensor& x) {
  int64_t h = x.size(0), w = x.size(1), channels = x.size(2), white = 0;
  const float* p = x.const_data_ptr<float>();
  auto count = [&](int64_t row, int64_t column) {
    const float* q = p + (row * w + column) * channels;
    white += *std::min_element(q, q + channels) >= 250;
  };
  for (int64_t column = 0; column < w; ++column) count(0, column), count(h - 1, column);
  for (int64_t row = 0; row < h; ++row) count(row, 0), count(row, w - 1);
  return 3 * white >= 2 * (h + w);
}

/// How much light was lost at either end.
struct Light {
  double top = 0;  ///< Brightest of any channel but for half a percent of the pixels, 0 to 1.
  /// Share of colours with a channel at its end while the others go on, and a fifth of those with a
  /// channel there at all, more than run up to it.
  double lost = 0;
};

template <int kChannels>
Light judge_light_of(const at::Tensor& x) {
  int64_t h = x.size(0), w = x.size(1), n = h * w, colours = 0, shaded = 0;
  std::array<int64_t, 256> highest{}, coloured{};
  // White paper is white in good light too: on it, what counts is colour that ran into its end.
  bool paper = on_paper(x);
  const float* p = x.const_data_ptr<float>();
  for (int64_t y = 0; y < h; ++y) {
    bool before = false;
    for (int64_t column = 0; column < w; ++column, p += kChannels) {
      float low = p[0], high = p[0];
      for (int c = 1; c < kChannels; ++c) {
        low = std::min(low, p[c]);
        high = std::max(high, p[c]);
      }
      auto bin = static_cast<size_t>(static_cast<int>(high + 0.5f)) & 255;
      ++highest[bin];
      bool colour = !paper || low < 250;
      colours += colour;
      coloured[bin] += colour;
      bool end = colour && bin >= 254;
      if (end && before) {
        // A flat colour with a channel at its end was painted so; a shade was cut off.
        float step = 0;
        for (int c = 0; c < kChannels; ++c)
          step = std::max(step, std::fabs(p[c] - p[c - kChannels]));
        shaded += step >= 1 && step <= 24;
      }
      before = end;
    }
  }
  Light out;
  int64_t above = 0;
  for (size_t v = 256; v-- > 0 && above <= n / 200;) {
    above += highest[v];
    out.top = static_cast<double>(v) / 255;
  }
  if (colours * 50 < n) return out;
  double end = static_cast<double>(coloured[254] + coloured[255]), near = 0;
  for (size_t v = 236; v < 250; ++v) near += static_cast<double>(coloured[v]) / 14;
  out.lost = (static_cast<double>(shaded) + 0.2 * std::max(0.0, end - 2 * near)) /
             static_cast<double>(colours);
  return out;
}

Light judge_light(const at::Tensor& x) {
  return x.size(2) == 1 ? judge_light_of<1>(x) : judge_light_of<3>(x);
}

/// Blocks of one colour and the corners of the rectangle around them.
struct Patch {
  int64_t blocks = 0, top = INT64_MAX, left = INT64_MAX, bottom = -1, right = -1;
};

/// Share of the picture that a rectangle of one flat colour hides: whole blocks of 8 × 8 without a
/// trace of anything else. Painted areas are flat too, but seldom rectangles. The ground that a
/// thing is shown on, the colour of most of the border, is left out.
double hidden_share(const at::Tensor& x) {
  int64_t h = x.size(0), w = x.size(1), channels = x.size(2), blocks = 0;
  const float* p = x.data_ptr<float>();
  auto colour = [&](int64_t row, int64_t column) {
    const float* q = p + (row * w + column) * channels;
    int64_t key = 0;
    for (int64_t c = 0; c < channels; ++c) key = key << 8 | std::llround(q[c]);
    return key;
  };
  std::unordered_map<int64_t, int64_t> border;
  std::unordered_map<int64_t, Patch> flat;
  for (int64_t column = 0; column < w; ++column) {
    ++border[colour(0, column)];
    ++border[colour(h - 1, column)];
  }
  for (int64_t row = 0; row < h; ++row) {
    ++border[colour(row, 0)];
    ++border[colour(row, w - 1)];
  }
  for (int64_t top = 0; top + 8 <= h; top += 8) {
    for (int64_t left = 0; left + 8 <= w; left += 8) {
      int64_t first = colour(top, left);
      bool same = true;
      for (int64_t i = 0; same && i < 64; ++i) same = colour(top + i / 8, left + i % 8) == first;
      ++blocks;
      if (!same) continue;
      Patch& patch = flat[first];
      ++patch.blocks;
      patch.top = std::min(patch.top, top / 8);
      patch.left = std::min(patch.left, left / 8);
      patch.bottom = std::max(patch.bottom, top / 8);
      patch.right = std::max(patch.right, left / 8);
    }
  }
  double most = 0;
  for (const auto& [key, patch] : flat) {
    if (border[key] > h + w) continue;
    auto around =
        static_cast<double>((patch.bottom - patch.top + 1) * (patch.right - patch.left + 1));
    auto filled = static_cast<double>(patch.blocks) / around;
    most = std::max(most, static_cast<double>(patch.blocks) * std::pow(filled, 3));
  }
  return blocks ? most / static_cast<double>(blocks) : 0;
}

/// How much steeper steps are from one block of 8 x 8 to the next than within (Wang and others
/// 2002), at the grid's best position: 0 without a grid.
double blockiness(const float* p, int64_t h, int64_t w) {
  if (h < 32 || w < 32) return 0;
  double worst = 0;
  std::vector<float> slopes(static_cast<size_t>(h * w));
  for (bool rows : {false, true}) {
    // slopes[i] between neighbours i and i + 1, line by line; extra[i] over all lines.
    const int64_t length = rows ? h : w, lines = rows ? w : h, step = rows ? w : 1;
    for (int64_t i = 0; i + step < h * w; ++i)
      slopes[static_cast<size_t>(i)] = std::min(32.f, std::fabs(p[i + step] - p[i]));
    std::vector<double> extra(static_cast<size_t>(length));
    auto add = [&](int64_t line, int64_t i) {
      const float* q = slopes.data() + (rows ? line + i * w : line * w + i);
      extra[static_cast<size_t>(i)] += q[0] - 0.5 * (q[-step] + q[step]);
    };
    if (rows) {
      for (int64_t i = 1; i + 2 < length; ++i) {
        for (int64_t k = 0; k < lines; ++k) add(k, i);
      }
    } else {
      for (int64_t k = 0; k < lines; ++k) {
        for (int64_t i = 1; i + 2 < length; ++i) add(k, i);
      }
    }
    std::array<double, 8> sum{}, count{};
    for (int64_t i = 1; i + 2 < length; ++i) {
      const auto at = static_cast<size_t>(i % 8);
      sum[at] += extra[static_cast<size_t>(i)] / static_cast<double>(lines);
      count[at] += 1;
    }
    for (size_t i = 0; i < 8; ++i) sum[i] /= count[i];
    std::sort(sum.begin(), sum.end());
    worst += 0.5 * (sum[7] - sum[6]);
  }
  return worst;
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
  // Of every column of a row of blocks.
  const auto columns = static_cast<size_t>(w);
  std::vector<float> low(columns), high(columns), along(columns), down(columns);
  for (int64_t y0 = 0; y0 + kBlock <= h; y0 += 8) {
    std::fill(low.begin(), low.end(), 255.f);
    for (auto* most : {&high, &along, &down}) std::fill(most->begin(), most->end(), 0.f);
    for (int64_t y = y0; y < y0 + kBlock; ++y) {
      const float* row = p + y * w;
      for (size_t x = 0; x < columns; ++x) {
        low[x] = std::min(low[x], row[x]);
        high[x] = std::max(high[x], row[x]);
      }
      for (size_t x = 0; x + 1 < columns; ++x)
        along[x] = std::max(along[x], std::fabs(row[x + 1] - row[x]));
      if (y + 1 == y0 + kBlock) continue;
      const float* next = row + w;
      for (size_t x = 0; x < columns; ++x) down[x] = std::max(down[x], std::fabs(next[x] - row[x]));
    }
    for (int64_t x0 = 0; x0 + kBlock <= w; x0 += 8) {
      float least = 255, most = 0, steep = 0;
      for (auto x = static_cast<size_t>(x0); x < static_cast<size_t>(x0 + kBlock); ++x) {
        least = std::min(least, low[x]);
        most = std::max(most, high[x]);
        steep = std::max(steep, down[x]);
        if (x + 1 < static_cast<size_t>(x0 + kBlock)) steep = std::max(steep, along[x]);
      }
      double range = most - least - 4 * noise;
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
    return {0,
            {{"sharpness", 0},
             {"noise", 0},
             {"exposure", 0},
             {"entropy", 0},
             {"compression", 0},
             {"occlusion", 0}}};
  at::Tensor colours = prepare(image), x = grey(colours);
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

  double noise = h > 10 && w > 10 ? noise_level(p, h, w) : 0;
  double slope = edge_slope(p, h, w, noise);
  Light light = judge_light(colours);
  double sharpness = slope < 0 ? 0.3 : std::clamp((slope - 0.05) / 0.6, 0.02, 1.0);
  double calm = std::exp(-noise / 14);
  double exposure = std::pow(std::min(1.0, light.top / 0.95), 2) *
                    (1 - 0.75 * std::sqrt(std::min(1.0, light.lost))) *
                    std::sqrt(std::min(1.0, 0.3 + range / 0.25));
  double rich = std::sqrt(std::min(1.0, 0.1 + entropy / 5));
  double smooth = 1 / (1 + std::max(0.0, blockiness(p, h, w) - 0.2) / 1.8);
  double open = 1 / (1 + 2 * hidden_share(colours));
  return {std::clamp(sharpness * calm * exposure * rich * smooth * open, 0.0, 1.0),
          {{"sharpness", sharpness},
           {"noise", calm},
           {"exposure", exposure},
           {"entropy", rich},
           {"compression", smooth},
           {"occlusion", open}}};
}

}  // namespace plait::models
