#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "plait/core/json.h"

/// The operators that OnnxGraph runs; not for other headers.
namespace plait::models::onnx {

/// One operator with the values it works on; an input that is left out is undefined.
struct Call {
  const Json& attributes;
  const std::vector<at::Tensor>& inputs;
  int64_t opset;

  /// @throws Error kInvalidArgument when it is left out.
  const at::Tensor& input(size_t index) const;
  bool has(size_t index) const { return index < inputs.size() && inputs[index].defined(); }
  /// A list of whole numbers from an attribute.
  std::vector<int64_t> ints(const char* name, std::vector<int64_t> fallback) const;
  /// The same from an attribute, or from an input, where later versions of ONNX have it.
  std::vector<int64_t> ints(const char* name, size_t index) const;
};

using Operator = at::Tensor (*)(const Call& call);

struct OperatorEntry {
  const char* name;
  Operator run;
  std::vector<const char*> attributes;  ///< Those that it understands
  size_t min_inputs, max_inputs;
};

/// Null for an operator that is not supported.
const OperatorEntry* find_operator(const std::string& name);

/// @throws Error kResourceLimit for more than 2^30 values.
void check_count(const std::vector<int64_t>& shape);

/// Convolution, pooling and resizing.
const std::vector<OperatorEntry>& spatial_operators();

}  // namespace plait::models::onnx
