#include <cstdlib>

#include "fuzz/target.h"
#include "plait/data/table/csv.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return plait::fuzz::guarded([&] {
    plait::data::JsonLinesReader reader(plait::fuzz::text(data, size), "input");
    plait::Json value;
    while (reader.next(value)) {
      if (!value.is_object()) std::abort();
    }
  });
}
