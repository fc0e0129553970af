#pragma once
#include <ATen/core/Tensor.h>

#include <string>

#include "plait/core/tensor_map.h"

/// Checks and small steps that encoders of sequences share.
namespace plait::models {

/// `ids` as int64. @throws Error kInvalidArgument unless it is an integer tensor of `dims`
/// dimensions and, on the CPU, every id lies in [0, count): elsewhere looking would stall the
/// device.
at::Tensor check_ids(const at::Tensor& ids, int64_t dims, int64_t count, const char* unit);

/// The optional mask `name` as bool. @throws Error kInvalidArgument unless its shape is [batch,
/// length].
at::Tensor check_mask(const TensorMap& inputs, const char* name, int64_t batch, int64_t length,
                      const char* unit);

/// `key_mask` for attention, or an undefined tensor when all tokens are real and looking is cheap
/// (CPU): unmasked attention is faster.
at::Tensor attention_mask_or_none(const at::Tensor& token_mask);

/// x with everything outside the mask set to 0, NaN included. x [B, T, D], mask [B, T] or
/// undefined.
at::Tensor zero_padding(const at::Tensor& x, const at::Tensor& mask);

/// Scales the last dimension to length 1.
at::Tensor unit_length(const at::Tensor& x);

}  // namespace plait::models
