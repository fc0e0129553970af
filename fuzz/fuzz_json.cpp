#include <cstdlib>

#include "fuzz/target.h"
#include "plait/core/json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return plait::fuzz::guarded([&] {
    plait::Json value = plait::Json::parse(plait::fuzz::text(data, size), "input");
    std::string once = value.dump();
    // What we print must parse again, to the same text.
    if (plait::Json::parse(once).dump() != once) std::abort();
  });
}
