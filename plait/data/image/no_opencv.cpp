#include "plait/core/error.h"
#include "plait/data/image/codec.h"

namespace plait::data {

bool image_codecs_available() { return false; }

RawImage decode_pixels(std::string_view, const std::string& name) {
  fail(ErrorCode::kUnavailable, "image",
       name + ": expected a build with PLAIT_WITH_MEDIA=ON to decode pictures, got one without");
}

std::string encode_pixels(const uint8_t*, int64_t, int64_t, const std::string& extension, int) {
  fail(ErrorCode::kUnavailable, "image",
       "expected a build with PLAIT_WITH_MEDIA=ON to encode " + extension +
           " pictures, got one without");
}

}  // namespace plait::data
