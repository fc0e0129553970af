#include "plait/models/encoders/common.h"

#include <ATen/ATen.h>

#include "plait/core/error.h"
#include "plait/models/layers/layers.h"

namespace plait::models {

at::Tensor check_ids(const at::Tensor& ids, int64_t dims, int64_t count, const char* unit) {
  if (ids.dim() != dims || !at::isIntegralType(ids.scalar_type(), /*includeBool=*/false) ||
      ids.numel() == 0) {
    fail(ErrorCode::kInvalidArgument, unit,
         "expected integer ids of " + std::to_string(dims) + " dimensions, not empty, got " +
             describe(ids));
  }
  if (ids.is_cpu()) {
    int64_t low = ids.min().item<int64_t>(), high = ids.max().item<int64_t>();
    if (low < 0 || high >= count) {
      fail(ErrorCode::kInvalidArgument, unit,
           "expected ids in [0, " + std::to_string(count) + "), got " +
               std::to_string(low < 0 ? low : high));
    }
  }
  return ids.to(at::kLong);
}

at::Tensor check_mask(const TensorMap& inputs, const char* name, int64_t batch, int64_t length,
                      const char* unit) {
  at::Tensor mask = get_or_undefined(inputs, name);
  if (!mask.defined()) return mask;
  if (mask.dim() != 2 || mask.size(0) != batch || mask.size(1) != length) {
    fail(ErrorCode::kInvalidArgument, unit,
         std::string("expected ") + name + " [" + std::to_string(batch) + ", " +
             std::to_string(length) + "], got " + describe(mask));
  }
  return mask.to(at::kBool);
}

at::Tensor attention_mask_or_none(const at::Tensor& token_mask) {
  if (!token_mask.defined()) return {};
  if (token_mask.is_cpu() && token_mask.all().item<bool>()) return {};
  return key_mask(token_mask);
}

at::Tensor zero_padding(const at::Tensor& x, const at::Tensor& mask) {
  return mask.defined() ? x.masked_fill(at::logical_not(mask).unsqueeze(-1), 0) : x;
}

at::Tensor unit_length(const at::Tensor& x) {
  return x / x.norm(2, -1, /*keepdim=*/true).clamp_min(1e-12);
}

}  // namespace plait::models
