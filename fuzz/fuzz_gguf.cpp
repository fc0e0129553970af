#include <ATen/ATen.h>

#include "fuzz/target.h"
#include "plait/core/weights/gguf.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return plait::fuzz::guarded([&] {
    auto bytes = std::make_shared<const std::string>(plait::fuzz::text(data, size));
    plait::GgufFile file = plait::GgufFile::parse(bytes, "input");
    for (const plait::GgufTensor& tensor : file.tensors()) {
      file.blocks(tensor.name).clone();
      if (plait::can_dequantize(tensor.type)) file.load(tensor.name).clone();
    }
  });
}
