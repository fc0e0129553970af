#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <unordered_map>
#include <vector>

#include "plait/core/error.h"
#include "plait/models/quality/image_loops.h"
#include "plait/models/quality/quality.h"

namespace plait::models {
namespace {

constexpr int64_t kSide = 256;

struct Measures {
  double sharpness = 0, noise = 0, exposure = 0, entropy = 0, compression = 0, occlusion = 0;
};

/// Values 0..255 float [C, H, W], C 1 or 3, the shorter side at most kSide and a quarter; bytes
/// [H, W, C] that need no change stay as they are.
at::Tensor prepare(const at::Tensor& image) {
  at::Tensor x = image.detach().to(at::kCPU);
  if (x.dim() == 2) x = x.unsqueeze(-1);
  bool planes = x.dim() == 3 && x.is_floating_point() &&
                (x.size(0) == 3 || (x.size(0) == 1 && x.size(2) != 3));
  if (x.dim() != 3 || (!planes && x.size(2) != 3 && x.size(2) != 1)) {
    fail(ErrorCode::kInvalidArgument, "image quality",
         "expected uint8 [H, W, 3] or float [3, H, W], got " + describe(image));
  }
  constexpr int64_t kMost = kSide + kSide / 4;
  if (x.scalar_type() == at::kByte && std::min(x.size(0), x.size(1)) <= kMost)
    return x.contiguous();
  if (!planes) x = x.permute({2, 0, 1});
  bool unit = x.is_floating_point();
  x = x.to(at::kFloat);
  if (unit) x = at::nan_to_num(x, 0, 1, 0) * 255;
  x = x.clamp(0, 255);
  int64_t h = x.size(1), w = x.size(2), side = std::min(h, w);
  if (side > kMost) {
    double scale = static_cast<double>(kSide) / static_cast<double>(side);
    x = at::_upsample_bilinear2d_aa(x.unsqueeze(0),
                                    {std::max<int64_t>(1, std::llround(scale * h)),
                                     std::max<int64_t>(1, std::llround(scale * w))},
                                    false)
            .squeeze(0)
            .clamp(0, 255);
  }
  return x.contiguous();
}

/// Whether the thing shown lies on white paper: a third of the border is white.
template <class T>
bool on_paper(const Planes<T>& x) {
  int64_t h = x.h, w = x.w, white = 0;
  auto count = [&](int64_t row, int64_t column) {
    const int64_t i = row * w + column;
    white += x.red[i] >= 250 && x.green[i] >= 250 && x.blue[i] >= 250;
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

template <class T>
Light judge_light(const Planes<T>& x) {
  const int64_t n = x.size();
  std::vector<uint8_t> marks(static_cast<size_t>(4 * n), 1);
  uint8_t *highest = marks.data(), *coloured = highest + n, *shaded = coloured + n,
          *all = shaded + n;
  // White paper is white in good light too: on it, what counts is colour that ran into its end.
  light_of(x, on_paper(x) ? 250 : 256, highest, coloured, shaded);
  Light out;
  int least = 0, most = 255;
  while (least < most) {
    const int middle = (least + most + 1) / 2;
    if (count_between(highest, all, n, middle, 255) > n / 200) {
      least = middle;
    } else {
      most = middle - 1;
    }
  }
  out.top = static_cast<double>(least) / 255;
  const int64_t colours = count_between(highest, coloured, n, 0, 255);
  if (colours * 50 < n) return out;
  const auto end = static_cast<double>(count_between(highest, coloured, n, 254, 255)),
             near = static_cast<double>(count_between(highest, coloured, n, 236, 249)) / 14;
  const auto shades = static_cast<double>(count_between(highest, shaded, n, 0, 255));
  out.lost = (shades + 0.2 * std::max(0.0, end - 2 * near)) / static_cast<double>(colours);
  return out;
}

/// Blocks of one colour and the corners of the rectangle around them.
struct Patch {
  int64_t blocks = 0, top = INT64_MAX, left = INT64_MAX, bottom = -1, right = -1;
  int64_t border = 0;  ///< Pixels of the picture's border.
};

/// Share of the picture that a rectangle of one flat colour hides: whole blocks of 8 × 8 without a
/// trace of anything else. Painted areas are flat too, but seldom rectangles. The ground that a
/// thing is shown on, the colour of most of the border, is left out.
double hidden_share(const std::vector<uint32_t>& colours, int64_t h, int64_t w) {
  int64_t blocks = 0;
  std::unordered_map<uint32_t, Patch> flat;
  Patch* last = nullptr;  // Neighbours are alike.
  uint32_t last_colour = 0;
  for (int64_t top = 0; top + 8 <= h; top += 8) {
    for (int64_t left = 0; left + 8 <= w; left += 8) {
      const uint32_t* block = colours.data() + top * w + left;
      uint32_t other = 0;
      for (int64_t row = 0; row < 8 && !other; ++row) {
        for (int64_t i = 0; i < 8; ++i) other |= block[row * w + i] ^ block[0];
      }
      ++blocks;
      if (other) continue;
      if (!last || last_colour != block[0]) {
        last = &flat[block[0]];
        last_colour = block[0];
      }
      ++last->blocks;
      last->top = std::min(last->top, top / 8);
      last->left = std::min(last->left, left / 8);
      last->bottom = std::max(last->bottom, top / 8);
      last->right = std::max(last->right, left / 8);
    }
  }
  if (flat.empty()) return 0;
  auto count = [&](int64_t row, int64_t column) {
    const uint32_t colour = colours[static_cast<size_t>(row * w + column)];
    if (!last || last_colour != colour) {
      const auto found = flat.find(colour);
      last = found == flat.end() ? nullptr : &found->second;
      last_colour = colour;
    }
    if (last) ++last->border;
  };
  for (int64_t column = 0; column < w; ++column) count(0, column);
  for (int64_t column = 0; column < w; ++column) count(h - 1, column);
  for (int64_t row = 0; row < h; ++row) count(row, 0);
  for (int64_t row = 0; row < h; ++row) count(row, w - 1);
  double most = 0;
  for (const auto& [key, patch] : flat) {
    if (patch.border > h + w) continue;
    auto around =
        static_cast<double>((patch.bottom - patch.top + 1) * (patch.right - patch.left + 1));
    auto filled = static_cast<double>(patch.blocks) / around;
    most = std::max(most, static_cast<double>(patch.blocks) * std::pow(filled, 3));
  }
  return most / static_cast<double>(blocks);
}

/// How much steeper steps are from one block of 8 x 8 to the next than within (Wang and others
/// 2002), at the grid's best position: 0 without a grid.
double blockiness(const float* p, int64_t h, int64_t w) {
  if (h < 32 || w < 32) return 0;
  std::vector<double> along(static_cast<size_t>(w)), down(static_cast<size_t>(h));
  sum_steps(p, h, w, along.data(), down.data());
  double worst = 0;
  for (bool rows : {false, true}) {
    const std::vector<double>& steps = rows ? down : along;
    const auto lines = static_cast<double>(rows ? w : h);
    std::array<double, 8> sum{}, count{};
    for (size_t i = 1; i + 2 < steps.size(); ++i) {
      sum[i % 8] += (steps[i] - 0.5 * (steps[i - 1] + steps[i + 1])) / lines;
      count[i % 8] += 1;
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
  std::vector<float> blocks = noises_of(p, h, w);
  return quantile(blocks, 0.25);
}

/// Share of a step's height that its steepest pixel takes, at the blocks with the sharpest edges: 1
/// for a perfect step, about 0.4/σ under a Gaussian blur of σ pixels.
double edge_slope(const float* p, int64_t h, int64_t w, double noise) {
  std::vector<float> slopes;
  for (const Block& block : blocks_of(p, h, w)) {
    double range = block.most - block.least - 4 * noise;
    if (range >= 24)
      slopes.push_back(static_cast<float>(std::clamp((block.steep - 4 * noise) / range, 0.0, 1.0)));
  }
  if (slopes.size() < 4) return -1;
  return quantile(slopes, 0.8);
}

template <class T>
Measures judge(const Planes<T>& x) {
  const int64_t h = x.h, w = x.w, n = x.size();
  std::vector<float> grey(static_cast<size_t>(n));
  if (x.red == x.green) {
    std::copy_n(x.red, n, grey.begin());
  } else {
    grey_of(x, grey.data());
  }
  std::vector<uint32_t> colours(static_cast<size_t>(n));
  colours_of(x, colours.data());
  const float* p = grey.data();

  std::array<int64_t, 256> histogram{};
  histogram_of(p, n, histogram.data());
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

  Measures out;
  double noise = h > 10 && w > 10 ? noise_level(p, h, w) : 0;
  double slope = edge_slope(p, h, w, noise);
  Light light = judge_light(x);
  out.sharpness = slope < 0 ? 0.3 : std::clamp((slope - 0.05) / 0.6, 0.02, 1.0);
  out.noise = std::exp(-noise / 14);
  out.exposure = std::pow(std::min(1.0, light.top / 0.95), 2) *
                 (1 - 0.75 * std::sqrt(std::min(1.0, light.lost))) *
                 std::sqrt(std::min(1.0, 0.3 + range / 0.25));
  out.entropy = std::sqrt(std::min(1.0, 0.1 + entropy / 5));
  out.compression = 1 / (1 + std::max(0.0, blockiness(p, h, w) - 0.2) / 1.8);
  out.occlusion = 1 / (1 + 2 * hidden_share(colours, h, w));
  return out;
}

/// Planes one after the other.
template <class T>
Planes<T> planes_at(const T* first, int64_t channels, int64_t h, int64_t w) {
  const int64_t step = channels == 3 ? h * w : 0;
  return {h, w, first, first + step, first + 2 * step};
}

Measures judge(const at::Tensor& x) {
  if (x.scalar_type() != at::kByte)
    return judge(planes_at(x.const_data_ptr<float>(), x.size(0), x.size(1), x.size(2)));
  const uint8_t* bytes = x.const_data_ptr<uint8_t>();
  std::vector<uint8_t> planes;
  if (x.size(2) == 3) {
    planes.resize(static_cast<size_t>(x.numel()));
    split(bytes, x.size(0) * x.size(1), planes.data());
    bytes = planes.data();
  }
  return judge(planes_at(bytes, x.size(2), x.size(0), x.size(1)));
}

}  // namespace

Quality image_quality(const at::Tensor& image) {
  Measures m;
  double score = 0;
  if (image.defined() && image.numel() > 0) {
    m = judge(prepare(image));
    score = m.sharpness * m.noise * m.exposure * m.entropy * m.compression * m.occlusion;
  }
  return {std::clamp(score, 0.0, 1.0),
          {{"sharpness", m.sharpness},
           {"noise", m.noise},
           {"exposure", m.exposure},
           {"entropy", m.entropy},
           {"compression", m.compression},
           {"occlusion", m.occlusion}}};
}

}  // namespace plait::models
