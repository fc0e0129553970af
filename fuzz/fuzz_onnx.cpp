#include <ATen/ATen.h>

#include "fuzz/target.h"
#include "plait/core/weights/onnx.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return plait::fuzz::guarded([&] {
    for (bool dequantize : {false, true}) {
      auto model = plait::parse_onnx({data, size}, "input", {.dequantize = dequantize});
      for (const auto& [name, tensor] : model.tensors) tensor.clone();
    }
  });
}
