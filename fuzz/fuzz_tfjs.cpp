#include <ATen/ATen.h>

#include "fuzz/tfjs_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return plait::fuzz::guarded([&] {
    auto file = plait::fuzz::parse_tfjs(plait::fuzz::text(data, size));
    for (const auto& [name, tensor] : file.load_all()) tensor.clone();
  });
}
