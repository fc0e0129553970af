#include "fuzz/target.h"
#include "plait/data/audio/audio.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return plait::fuzz::guarded([&] {
    plait::data::decode_audio(plait::fuzz::text(data, size), "input",
                              {.sample_rate = 16000, .max_seconds = 60, .timeout_seconds = 10});
  });
}
