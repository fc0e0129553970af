#include "fuzz/target.h"
#include "plait/data/volume/dicom.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return plait::fuzz::guarded([&] {
    auto image = plait::data::decode_dicom(plait::fuzz::text(data, size), "input",
                                           {.max_bytes = size_t{1} << 22});
    plait::data::display_pixels(image);
  });
}
