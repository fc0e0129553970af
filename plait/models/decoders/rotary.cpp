#include "plait/models/decoders/rotary.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace plait::models {
namespace {

/// Pairs that turn more than beta_fast times in the original length keep their frequency, those
/// that turn less than beta_slow times are stretched, those between blended.
at::Tensor yarn_frequencies(int64_t width, const RotaryOptions& o, const at::Tensor& frequencies) {
  auto pair_of = [&](double turns) {
    const double length = static_cast<double>(o.original_positions);
    return static_cast<double>(width) * std::log(length / (turns * 2 * std::numbers::pi)) /
           (2 * std::log(o.theta));
  };
  const double low = std::max(std::floor(pair_of(o.beta_fast)), 0.0);
  double high = std::min(std::ceil(pair_of(o.beta_slow)), static_cast<double>(width - 1));
  if (low == high) high += 0.001;
  at::Tensor stretch = ((at::arange(width / 2, at::kFloat) - low) / (high - low)).clamp(0, 1);
  return frequencies / o.factor * stretch + frequencies * (1 - stretch);
}

}  // namespace

at::Tensor rotary_frequencies(int64_t width, const RotaryOptions& options) {
  at::Tensor exponent = at::arange(0, width, 2, at::kFloat) / static_cast<double>(width);
  at::Tensor frequencies = 1.0 / at::pow(at::Scalar(options.theta), exponent);
  if (options.type == "linear") return frequencies / options.factor;
  if (options.type == "yarn") return yarn_frequencies(width, options, frequencies);
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

double rotary_scale(const RotaryOptions& options) {
  if (options.type != "yarn") return 1;
  if (options.attention_factor > 0) return options.attention_factor;
  return options.factor > 1 ? 0.1 * std::log(options.factor) + 1 : 1;
}

std::pair<at::Tensor, at::Tensor> rotary_angles(const at::Tensor& positions,
                                                const at::Tensor& frequencies, at::ScalarType dtype,
                                                double scale) {
  at::Tensor angles = positions.to(at::kFloat).unsqueeze(-1) * frequencies.to(at::kFloat);
  at::Tensor cos = angles.cos(), sin = angles.sin();
  if (scale != 1) return {(cos * scale).to(dtype), (sin * scale).to(dtype)};
  return {cos.to(dtype), sin.to(dtype)};
}

at::Tensor rotate(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  const int64_t half = x.size(-1) / 2;
  at::Tensor a = x.narrow(-1, 0, half), b = x.narrow(-1, half, half);
  return at::cat({a * cos - b * sin, b * cos + a * sin}, -1);
}

}  // namespace plait::models
