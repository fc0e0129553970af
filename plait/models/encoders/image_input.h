#pragma once
#include "plait/models/encoders/encoder.h"

namespace plait::models {

/// The "pixel_values" of an image encoder, checked: [B, channels, H, W], floating point, H and W at
/// least `min_side`, B at least 1. @throws Error kInvalidArgument naming `unit`.
const at::Tensor& pixel_values(const TensorMap& inputs, int64_t channels, int64_t min_side,
                               const char* unit);

/// A feature map [B, D, H, W] → tokens [B, H·W, D], row by row.
at::Tensor map_to_tokens(const at::Tensor& map);

/// Stochastic depth (Huang et al. 2016, arXiv 1603.09382): zeroes whole items of `branch` with
/// probability `rate` and rescales the others. Call it in training only.
at::Tensor drop_path(const at::Tensor& branch, double rate,
                     const std::optional<at::Generator>& generator);

}  // namespace plait::models
