#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace plait::data {

/// A picture uint8 [H, W, 3], `scale` times as large, with its left upper corner at (`left`, `top`)
/// of a square uint8 [size, size, 3] of grey 114; what lies outside is cut off. Pixel x of the
/// picture comes to left + scale · x. Bilinear, antialiased. Thread-safe.
/// @throws Error kInvalidArgument for an empty picture, a size below 1 or a scale that is not above
/// 0; kResourceLimit when the scaled picture would have more than 2^28 pixels.
at::Tensor place_picture(const at::Tensor& picture, int64_t size, double scale, int64_t left = 0,
                         int64_t top = 0);

/// The scale at which the picture just fits into a square of `size`.
double fitting_scale(const at::Tensor& picture, int64_t size);

}  // namespace plait::data
