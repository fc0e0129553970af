#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <utility>

namespace plait::models {

/// Rotary position embedding (Su et al. 2021, https://arxiv.org/abs/2104.09864), the halves of a
/// head's width paired, with the stretches of longer contexts.
struct RotaryOptions {
  double theta = 10000;
  std::string type = "default";  ///< "default", "linear", "llama3", "yarn"
  double factor = 1;
  double low_freq_factor = 1, high_freq_factor = 4;  ///< llama3
  int64_t original_positions = 8192;                 ///< llama3, yarn
  double beta_fast = 32, beta_slow = 1;              ///< yarn (https://arxiv.org/abs/2309.00071)
  double attention_factor = 0;                       ///< yarn; 0: 0.1 ln(factor) + 1
};

/// Angle per position of each pair, [width / 2] float.
at::Tensor rotary_frequencies(int64_t width, const RotaryOptions& options);

/// What cos and sin are multiplied by: 1 but for "yarn".
double rotary_scale(const RotaryOptions& options);

/// cos and sin [..., T, width / 2] of integer positions [..., T], computed in float, times `scale`
/// and given in `dtype`.
std::pair<at::Tensor, at::Tensor> rotary_angles(const at::Tensor& positions,
                                                const at::Tensor& frequencies, at::ScalarType dtype,
                                                double scale = 1);

/// Rotates x [B, H, T, width] by cos and sin that broadcast to [B, H, T, width / 2].
at::Tensor rotate(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin);

}  // namespace plait::models
