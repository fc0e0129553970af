#include "tests/golden.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <filesystem>

#include "plait/core/error.h"
#include "plait/core/weights/safetensors.h"

namespace plait::tests {
namespace {

std::string folder() { return std::string(PLAIT_SOURCE_DIR) + "/tests/golden/"; }

std::string path_of(const std::string& name) { return folder() + name + ".safetensors"; }

}  // namespace

std::vector<std::string> golden_files() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder())) {
    if (entry.path().extension() == ".safetensors") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> entries_of(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

bool golden_exists(const std::string& name) { return std::filesystem::exists(path_of(name)); }

Golden load_golden(const std::string& name) {
  SafetensorsFile file = SafetensorsFile::open(path_of(name));
  Golden golden;
  golden.model = file.metadata().at("model");
  golden.config = Json::parse(file.metadata().at("config"), name);
  golden.config["type"] = golden.model;
  golden.reference = file.metadata().at("reference");
  for (const auto& [key, tensor] : file.tensors()) {
    size_t dot = key.find('.');
    std::string group = key.substr(0, dot), rest = key.substr(dot + 1);
    // A copy: tests change values, and the file's tensors are views of a read-only map.
    if (group == "weights") golden.weights[rest] = tensor.clone();
    if (group == "inputs") golden.inputs[rest] = tensor.clone();
    if (group == "outputs") golden.outputs[rest] = tensor.clone();
  }
  return golden;
}

testing::AssertionResult close(const at::Tensor& actual, const at::Tensor& expected,
                               Tolerance tolerance) {
  if (!actual.defined() || !expected.defined())
    return testing::AssertionFailure() << "undefined tensor";
  if (actual.sizes() != expected.sizes()) {
    return testing::AssertionFailure()
           << "expected " << describe(expected) << ", got " << describe(actual);
  }
  if (actual.numel() == 0) return testing::AssertionSuccess();
  at::Tensor a = actual.detach().to(at::kDouble), b = expected.detach().to(at::kDouble);
  double difference = (a - b).abs().max().item<double>();
  double limit = tolerance.absolute + tolerance.relative * b.abs().max().item<double>();
  // Written so that NaN fails.
  if (difference <= limit) return testing::AssertionSuccess();
  return testing::AssertionFailure()
         << "largest difference " << difference << ", allowed " << limit;
}

}  // namespace plait::tests
