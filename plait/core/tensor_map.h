#pragma once
#include <ATen/core/Tensor.h>

#include <map>
#include <string>

namespace plait {

/// Tensors by name: weights, the inputs of a model, its outputs.
using TensorMap = std::map<std::string, at::Tensor>;

/// The tensor of that name. @throws Error kInvalidArgument naming `unit`, the missing name and
/// those that are there.
const at::Tensor& get(const TensorMap& tensors, const std::string& name, const char* unit);

/// The tensor of that name, or an undefined tensor.
at::Tensor get_or_undefined(const TensorMap& tensors, const std::string& name);

/// "[2, 3, 224, 224] float32" for messages.
std::string describe(const at::Tensor& tensor);

}  // namespace plait
