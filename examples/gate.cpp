// A fusion layer alone: two streams, the second one damaged in one item and absent in another.
#include <ATen/ATen.h>

#include <iostream>

#include "plait/models/fusion/fusion.h"
#include "plait/models/registry.h"

int main() {
  // [snippet: gate]
  auto config = plait::Json::parse(R"({"type": "drg", "streams": 2, "width": 64})", "example");
  auto gate = plait::models::create_as<plait::models::Fusion>(config, "example");
  gate->initialize(/*seed=*/0);

  plait::models::FusionInput in;
  in.features = at::randn({3, 2, 64});  // [B, M, D]
  in.present = at::tensor({1, 1, 1, 1, 1, 0}).view({3, 2}).to(at::kBool);
  in.quality = at::tensor({0.9, 0.9, 0.9, 0.1, 0.9, 0.0}).view({3, 2}).to(at::kFloat);
  plait::models::FusionOutput out = gate->fuse(in);
  std::cout << out.weights << "\n";  // the damaged stream weighs little, the absent one nothing
  // [end]

  at::Tensor second = out.weights.select(1, 1).detach();
  const bool as_said =
      second[1].item<float>() < second[0].item<float>() && second[2].item<float>() == 0;
  return as_said ? 0 : 1;
}
