#include <ATen/ATen.h>

#include "fuzz/target.h"
#include "plait/core/weights/ctranslate2.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return plait::fuzz::guarded([&] {
    std::string bytes(plait::fuzz::text(data, size));
    for (const auto& [name, tensor] : plait::parse_ctranslate2(bytes, "input").variables) {
      tensor.clone();
    }
  });
}
