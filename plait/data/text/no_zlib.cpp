#include "plait/core/error.h"
#include "plait/data/text/compressed_size.h"

namespace plait::data {

double compression_ratio(std::string_view) {
  fail(ErrorCode::kUnavailable, "text", "built without zlib: texts cannot be packed");
}

}  // namespace plait::data
