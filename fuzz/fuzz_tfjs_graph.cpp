#include <ATen/ATen.h>

#include "fuzz/tfjs_input.h"
#include "plait/models/graph/onnx_graph.h"
#include "plait/models/graph/tfjs_graph.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return plait::fuzz::guarded([&] {
    auto file = plait::fuzz::parse_tfjs(plait::fuzz::text(data, size));
    plait::models::OnnxGraph(plait::models::import_tfjs(file), "input");
  });
}
