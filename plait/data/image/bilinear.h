#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace plait::data {

/// How a picture becomes a square before it is resized.
enum class Square {
  kNo,       ///< It does not: both sides are scaled on their own.
  kAtEnd,    ///< Zeros below or to the right
  kCentred,  ///< Zeros on both sides, the odd one below or to the right
};

/// uint8 [H, W, 3] → float32 [3, height, width] in [0, 255], bilinear without antialiasing, value i
/// taken at i · (side before / side after): TensorFlow.js' resizeBilinear with its defaults, which
/// networks of that family were published with. Memory is bounded by the result and the shorter
/// side of the picture. Thread-safe. @throws Error kInvalidArgument for another type or an empty
/// picture.
at::Tensor resize_bilinear(const at::Tensor& image, int64_t height, int64_t width,
                           Square square = Square::kNo);

}  // namespace plait::data
