#include "plait/models/encoders/image_input.h"

#include <ATen/ATen.h>

#include "plait/core/error.h"

namespace plait::models {

const at::Tensor& pixel_values(const TensorMap& inputs, int64_t channels, int64_t min_side,
                               const char* unit) {
  const at::Tensor& x = get(inputs, "pixel_values", unit);
  if (x.dim() != 4 || x.size(0) < 1 || x.size(1) != channels || x.size(2) < min_side ||
      x.size(3) < min_side || !x.is_floating_point()) {
    fail(ErrorCode::kInvalidArgument, unit,
         "expected pixel_values as floats [B, " + std::to_string(channels) +
             ", H, W] with H and W of at least " + std::to_string(min_side) + ", got " +
             describe(x));
  }
  return x;
}

at::Tensor map_to_tokens(const at::Tensor& map) { return map.flatten(2).transpose(1, 2); }

at::Tensor drop_path(const at::Tensor& branch, double rate,
                     const std::optional<at::Generator>& generator) {
  if (rate <= 0) return branch;
  std::vector<int64_t> shape(branch.dim(), 1);
  shape[0] = branch.size(0);
  at::Tensor keep =
      at::empty(shape, branch.options().requires_grad(false)).bernoulli_(1 - rate, generator);
  return branch * keep / (1 - rate);
}

}  // namespace plait::models
