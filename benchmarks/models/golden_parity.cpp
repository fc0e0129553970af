// How far every registered model is from its reference: runs the golden files of tests/golden and
// prints [{"name", "reference", "difference", "scale"}, ...], the largest absolute
// difference of any output and the largest absolute value of that output. Called by measure.py.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <iostream>

#include "plait/core/error.h"
#include "plait/models/registry.h"
#include "tests/golden.h"

namespace {

plait::Json measure(const std::string& file) {
  plait::tests::Golden golden = plait::tests::load_golden(file);
  auto model = plait::models::create(golden.config, file);
  model->load_state_dict(golden.weights, /*strict=*/true);
  at::NoGradGuard no_grad;
  plait::TensorMap outputs = model->forward(golden.inputs);
  double difference = 0, scale = 0;
  for (const auto& [name, expected] : golden.outputs) {
    at::Tensor wanted = expected.to(at::kDouble);
    double far = (outputs.at(name).to(at::kDouble) - wanted).abs().max().item<double>();
    if (far < difference) continue;
    difference = far;
    scale = wanted.abs().max().item<double>();
  }
  plait::Json row = plait::Json::object();
  row["name"] = file;
  row["reference"] = golden.reference;
  row["difference"] = difference;
  row["scale"] = scale;
  return row;
}

}  // namespace

int main() {
  try {
    plait::Json rows = plait::Json::array();
    for (const std::string& file : plait::tests::golden_files()) {
      if (plait::models::registry().contains(file.substr(0, file.find('@'))))
        rows.push_back(measure(file));
    }
    std::cout << rows.dump() << "\n";
  } catch (const plait::Error& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
  return 0;
}
