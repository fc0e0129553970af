#pragma once
#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "plait/core/json.h"
#include "plait/core/tensor_map.h"
#include "tests/tolerance.h"

namespace plait::tests {

/// A reference's weights, inputs and outputs from tests/golden/<name>.safetensors (made by
/// tools/golden/).
struct Golden {
  std::string model;      ///< Name in the registry.
  Json config;            ///< The Plait config with "type".
  std::string reference;  ///< Package and version.
  TensorMap weights, inputs, outputs;
};

/// Names of the files in tests/golden, sorted.
std::vector<std::string> golden_files();
bool golden_exists(const std::string& name);
Golden load_golden(const std::string& name);

/// Names of what lies in the folder, sorted.
std::vector<std::string> entries_of(const std::string& folder);
/// What the Error says that the call throws, or "no error".
std::string message_of(const std::function<void()>& call);

/// |a - b| ≤ absolute + relative · max|b|, same shape, no NaN; the message says where and how far.
testing::AssertionResult close(const at::Tensor& actual, const at::Tensor& expected,
                               Tolerance tolerance);

}  // namespace plait::tests
