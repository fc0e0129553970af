// Golden files beside the one that each model has by its name:
// tests/golden/<model>_<variant>.safetensors.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "plait/models/registry.h"
#include "tests/golden.h"

namespace plait::models {
namespace {

std::vector<std::string> variants() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(PLAIT_SOURCE_DIR "/tests/golden")) {
    std::string name = entry.path().stem().string();
    if (entry.path().extension() != ".safetensors") continue;
    for (const std::string& model : registry().names()) {
      if (name.starts_with(model + "_") && tests::load_golden(name).model == model)
        names.push_back(name);
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

class GoldenVariant : public testing::TestWithParam<std::string> {};

TEST_P(GoldenVariant, EqualsTheReference) {
  tests::Golden golden = tests::load_golden(GetParam());
  auto model = create(golden.config, GetParam());
  model->load_state_dict(golden.weights, /*strict=*/true);
  at::NoGradGuard no_grad;
  TensorMap outputs = model->forward(golden.inputs);
  ASSERT_FALSE(golden.outputs.empty());
  for (const auto& [name, expected] : golden.outputs) {
    ASSERT_TRUE(outputs.count(name)) << "no output " << name;
    EXPECT_TRUE(tests::close(outputs.at(name), expected, tests::parity(at::kFloat)))
        << name << " against " << golden.reference;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, GoldenVariant, testing::ValuesIn(variants()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace plait::models
