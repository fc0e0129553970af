#include "fuzz/target.h"
#include "plait/data/video/video.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return plait::fuzz::guarded([&] {
    auto reader = plait::data::VideoReader::from_view(plait::fuzz::text(data, size), "input",
                                                      {.max_pixels = int64_t{1} << 20,
                                                       .max_frames = 200,
                                                       .max_seconds = 600,
                                                       .timeout_seconds = 3});
    reader.next();
    reader.seek(0.35);
    plait::data::sample_frames(reader, 3);
  });
}
