#include "fuzz/target.h"
#include "plait/core/weights/nano_e5.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return plait::fuzz::guarded([&] { plait::parse_nano_e5({data, size}, "input"); });
}
