#include "plait/core/error.h"
#include "plait/data/volume/dicom_elements.h"

namespace plait::data {

std::string inflate_raw(std::string_view, size_t, const std::string& name) {
  fail(ErrorCode::kUnavailable, "dicom",
       name + ": expected a build with zlib to read a deflated file, got one without");
}

}  // namespace plait::data
