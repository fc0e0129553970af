#include "plait/models/decoders/rotary.h"

#include <ATen/ATen.h>

#include <cmath>
#include <numbers>

namespace plait::models {

at::Tensor rotary_frequencies(int64_t width, const RotaryOptions& options) {
  at::Tensor exponent = at::arange(0, width, 2, at::kFloat) / static_cast<double>(width);
  at::Tensor frequencies = 1.0 / at::pow(at::Scalar(options.theta), exponent);
  if (options.type == "linear") return frequencies / options.factor;
  if (options.type != "llama3") return frequencies;
  // Long waves are stretched, short ones kept, those between blended (Llama 3.1).
  const double original = static_cast<double>(options.original_positions);
  at::Tensor length = 2 * std::numbers::pi / frequencies;
  at::Tensor blend = (original / length - options.low_freq_factor) /
                     (options.high_freq_factor - options.low_freq_factor);
  at::Tensor stretched = frequencies / options.factor;
  at::Tensor between = (1 - blend) * stretched + blend * frequencies;
  at::Tensor out = at::where(length > original / options.low_freq_factor, stretched, frequencies);
  return at::where(at::logical_and(length <= original / options.low_freq_factor,
                                   length >= original / options.high_freq_factor),
                   between, out);
}

std::pair<at::Tensor, at::Tensor> rotary_angles(const at::Tensor& positions,
                                                const at::Tensor& frequencies,
                                                at::ScalarType dtype) {
  at::Tensor angles = positions.to(at::kFloat).unsqueeze(-1) * frequencies.to(at::kFloat);
  return {angles.cos().to(dtype), angles.sin().to(dtype)};
}

at::Tensor rotate(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  const int64_t half = x.size(-1) / 2;
  at::Tensor a = x.narrow(-1, 0, half), b = x.narrow(-1, half, half);
  return at::cat({a * cos - b * sin, b * cos + a * sin}, -1);
}

}  // namespace plait::models
