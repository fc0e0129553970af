#include "plait/data/image/place.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "plait/core/error.h"
#include "plait/core/tensor_map.h"
#include "plait/data/image/image.h"

namespace plait::data {
namespace {

constexpr double kMostPixels = static_cast<double>(int64_t{1} << 28);
constexpr int kGrey = 114;

void check(const at::Tensor& picture, int64_t size) {
  if (picture.dim() != 3 || picture.size(2) != 3 || picture.numel() == 0 ||
      picture.scalar_type() != at::kByte || size < 1) {
    fail(ErrorCode::kInvalidArgument, "image",
         "expected a picture uint8 [H, W, 3] and a size of at least 1, got " + describe(picture));
  }
}

}  // namespace

double fitting_scale(const at::Tensor& picture, int64_t size) {
  check(picture, size);
  return static_cast<double>(size) /
         static_cast<double>(std::max(picture.size(0), picture.size(1)));
}

at::Tensor place_picture(const at::Tensor& picture, int64_t size, double scale, int64_t left,
                         int64_t top) {
  check(picture, size);
  require(scale > 0 && std::isfinite(scale), "image", "expected a scale above 0");
  const double tall = std::max(std::round(static_cast<double>(picture.size(0)) * scale), 1.0);
  const double wide = std::max(std::round(static_cast<double>(picture.size(1)) * scale), 1.0);
  if (tall * wide > kMostPixels)
    fail(ErrorCode::kResourceLimit, "image", "expected a smaller picture or scale");
  const auto height = static_cast<int64_t>(tall), width = static_cast<int64_t>(wide);
  at::Tensor scaled = height == picture.size(0) && width == picture.size(1)
                          ? picture
                          : resize_image(picture, height, width, Resample::kBilinear);
  at::Tensor out = at::full({size, size, 3}, kGrey, at::kByte);
  const int64_t x = std::max<int64_t>(left, 0), y = std::max<int64_t>(top, 0);
  const int64_t right = std::min(left + width, size), bottom = std::min(top + height, size);
  if (x >= right || y >= bottom) return out;
  out.slice(0, y, bottom)
      .slice(1, x, right)
      .copy_(scaled.slice(0, y - top, bottom - top).slice(1, x - left, right - left));
  return out;
}

}  // namespace plait::data
