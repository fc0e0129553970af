#include "fuzz/target.h"
#include "plait/data/table/pickled_frame.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return plait::fuzz::guarded([&] {
    plait::PickleMachine machine({data, size}, "input", plait::data::pickled_frame_globals());
    plait::data::read_frame(machine.load(), "input");
  });
}
