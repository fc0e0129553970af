#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "plait/data/augment/kinds.h"
#include "plait/data/image/image.h"

namespace plait::data {
namespace {

at::Tensor normal(const at::Tensor& like, DamageRandom& random) {
  at::Tensor noise = at::empty_like(like, at::kFloat);
  float* p = noise.data_ptr<float>();
  for (int64_t i = 0; i < noise.numel(); ++i) p[i] = static_cast<float>(random.normal());
  return noise;
}

at::Tensor to_bytes(const at::Tensor& x) {
  return x.round().clamp(0, 255).to(at::kByte).contiguous();
}

/// Separable Gaussian with mirrored borders on float [H, W, 3].
at::Tensor blur(const at::Tensor& image, double sigma) {
  int64_t radius = std::max<int64_t>(1, std::llround(3 * sigma));
  radius = std::min<int64_t>(radius, std::min(image.size(0), image.size(1)) - 1);
  if (radius < 1) return image;
  at::Tensor at_x = at::arange(-radius, radius + 1, at::kFloat);
  at::Tensor kernel = (-at_x.square() / (2 * sigma * sigma)).exp();
  kernel = kernel / kernel.sum();
  at::Tensor x = image.permute({2, 0, 1}).unsqueeze(1);  // [3, 1, H, W]
  x = at::conv2d(at::reflection_pad2d(x, {radius, radius, 0, 0}), kernel.view({1, 1, 1, -1}));
  x = at::conv2d(at::reflection_pad2d(x, {0, 0, radius, radius}), kernel.view({1, 1, -1, 1}));
  return x.squeeze(1).permute({1, 2, 0});
}

}  // namespace

at::Tensor damage_image(const at::Tensor& image, const std::string& kind, double severity,
                        uint64_t seed) {
  DamageRandom random(seed);
  at::Tensor x = image.to(at::kFloat).contiguous();
  int64_t h = x.size(0), w = x.size(1);
  // Strengths follow the size of the picture: the same severity hurts a thumbnail and a photograph
  // alike.
  double side = static_cast<double>(std::min(h, w));
  if (kind == "gaussian_blur") return to_bytes(blur(x, std::max(0.3, severity * side / 40)));
  if (kind == "gaussian_noise") return to_bytes(x + normal(x, random) * (90 * severity));
  if (kind == "salt_and_pepper") {
    float* p = x.data_ptr<float>();
    for (int64_t i = 0; i < h * w; ++i) {
      double u = random.uniform();
      float value = random.uniform() < 0.5 ? 0.f : 255.f;
      if (u < 0.5 * severity) p[3 * i] = p[3 * i + 1] = p[3 * i + 2] = value;
    }
    return to_bytes(x);
  }
  if (kind == "occlusion") {
    // A rectangle around one seeded centre that grows to nine tenths of both sides.
    double cy = random.uniform(), cx = random.uniform(), part = 0.9 * std::sqrt(severity);
    int64_t rows = std::clamp<int64_t>(std::llround(part * h), 1, h),
            columns = std::clamp<int64_t>(std::llround(part * w), 1, w);
    int64_t top = std::llround(cy * (h - rows)), left = std::llround(cx * (w - columns));
    x.narrow(0, top, rows)
        .narrow(1, left, columns)
        .fill_(static_cast<float>(random.below(160) + 48));
    return to_bytes(x);
  }
  if (kind == "exposure") {
    // Stops: light is multiplied, what exceeds the range is lost; too dark keeps few levels.
    double stops = severity * 4 * (random.uniform() < 0.5 ? 1 : -1);
    at::Tensor light = (x / 255).pow(2.2) * std::exp2(stops);
    return to_bytes(light.clamp(0, 1).pow(1 / 2.2) * 255);
  }
  int quality = static_cast<int>(std::lround(60 * std::pow(1 - severity, 2))) + 1;
  return decode_image(encode_jpeg(image, quality), "jpeg damage");
}

}  // namespace plait::data
