#include "plait/core/error.h"
#include "plait/data/volume/codec.h"

namespace plait::data {

bool dicom_codecs_available() { return false; }

std::vector<uint8_t> decode_compressed(const CompressedFrame&, const std::string& name) {
  fail(ErrorCode::kUnavailable, "dicom",
       name + ": expected a build with GDCM to decode compressed pixels, got one without");
}

}  // namespace plait::data
