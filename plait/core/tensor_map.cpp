#include "plait/core/tensor_map.h"

#include <ATen/ATen.h>

#include <sstream>

#include "plait/core/error.h"

namespace plait {

const at::Tensor& get(const TensorMap& tensors, const std::string& name, const char* unit) {
  auto it = tensors.find(name);
  if (it != tensors.end() && it->second.defined()) return it->second;
  std::string known;
  for (const auto& [key, value] : tensors) known += (known.empty() ? "" : ", ") + key;
  fail(ErrorCode::kInvalidArgument, unit, "expected a tensor \"" + name + "\", got only: " + known);
}

at::Tensor get_or_undefined(const TensorMap& tensors, const std::string& name) {
  auto it = tensors.find(name);
  return it == tensors.end() ? at::Tensor() : it->second;
}

std::string describe(const at::Tensor& tensor) {
  if (!tensor.defined()) return "no tensor";
  std::ostringstream out;
  out << tensor.sizes() << " " << tensor.scalar_type();
  return out.str();
}

}  // namespace plait
