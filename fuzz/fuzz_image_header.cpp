#include <cstdlib>

#include "fuzz/target.h"
#include "plait/data/image/header.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view bytes = plait::fuzz::text(data, size);
  plait::data::jpeg_is_whole(bytes);
  if (plait::data::png_pixels_only(bytes).size() > size) std::abort();
  return plait::fuzz::guarded([&] {
    plait::data::ImageInfo info = plait::data::read_image_info(bytes, "input");
    if (info.width <= 0 || info.height <= 0 || info.orientation < 1 || info.orientation > 8)
      std::abort();
  });
}
