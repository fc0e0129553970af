#include "plait/data/image/bilinear.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "plait/core/error.h"
#include "plait/core/tensor_map.h"

namespace plait::data {
namespace {

/// One axis of [H, W, 3] taken at `count` places. The axis stands `before` values into a longer one
/// of `padded` values, which are zero outside of it.
at::Tensor resize_axis(const at::Tensor& image, int64_t axis, int64_t count, int64_t padded,
                       int64_t before) {
  int64_t extent = image.size(axis);
  at::Tensor where =
      at::arange(count, at::kDouble) * (static_cast<double>(padded) / static_cast<double>(count));
  at::Tensor low = where.floor().clamp_max(static_cast<double>(padded - 1));
  std::vector<int64_t> along{1, 1, 1};
  along[static_cast<size_t>(axis)] = count;
  at::Tensor share = (where - low).to(at::kFloat).reshape(along);
  auto take = [&](const at::Tensor& place) {
    at::Tensor index = place.to(at::kLong) - before;
    at::Tensor inside = index.ge(0) & index.lt(extent);
    at::Tensor values = image.index_select(axis, index.clamp(0, extent - 1)).to(at::kFloat);
    return values.mul_(inside.to(at::kFloat).reshape(along));
  };
  at::Tensor first = take(low), second = take((low + 1).clamp_max(static_cast<double>(padded - 1)));
  return first.add_(second.sub_(first).mul_(share));
}

}  // namespace

at::Tensor resize_bilinear(const at::Tensor& image, int64_t height, int64_t width, Square square) {
  if (image.dim() != 3 || image.size(2) != 3 || image.scalar_type() != at::kByte ||
      image.numel() == 0 || height < 1 || width < 1)
    fail(ErrorCode::kInvalidArgument, "image",
         "expected a picture uint8 [H, W, 3] that is not empty, got " + describe(image));
  int64_t sides[2] = {image.size(0), image.size(1)}, padded[2] = {sides[0], sides[1]},
          before[2] = {0, 0};
  const int64_t counts[2] = {height, width};
  if (square != Square::kNo) {
    padded[0] = padded[1] = std::max(sides[0], sides[1]);
    for (int axis = 0; axis < 2; ++axis) {
      if (square == Square::kCentred) before[axis] = (padded[axis] - sides[axis]) / 2;
    }
  }
  // The longer side first: what lies between would else be as long.
  int first = sides[0] > sides[1] ? 0 : 1;
  at::Tensor out = image;
  for (int axis : {first, 1 - first})
    out = resize_axis(out, axis, counts[axis], padded[axis], before[axis]);
  return out.permute({2, 0, 1}).contiguous();
}

}  // namespace plait::data
