#include <ATen/ATen.h>

#include <memory>

#include "fuzz/target.h"
#include "plait/core/weights/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return plait::fuzz::guarded([&] {
    auto bytes = std::make_shared<const std::string>(plait::fuzz::text(data, size));
    plait::TensorMap tensors = plait::SafetensorsFile::parse(bytes, "input").tensors();
    // Touch every byte: a tensor outside the buffer shows under AddressSanitizer.
    for (const auto& [name, tensor] : tensors) tensor.clone();
    plait::dump_safetensors(tensors);
  });
}
