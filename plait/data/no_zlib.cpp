#include "plait/core/error.h"
#include "plait/data/deflate.h"

namespace plait::data {

double compression_ratio(std::string_view) {
  fail(ErrorCode::kUnavailable, "text", "built without zlib: texts cannot be packed");
}

std::string inflate_raw(std::string_view, size_t, const std::string& name) {
  fail(ErrorCode::kUnavailable, "dicom",
       name + ": expected a build with zlib to read a deflated file, got one without");
}

}  // namespace plait::data
