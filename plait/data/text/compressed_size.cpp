#include "plait/data/text/compressed_size.h"

#include <zlib.h>

#include <vector>

#include "plait/core/error.h"

namespace plait::data {

double compression_ratio(std::string_view text) {
  uLongf size = compressBound(text.size());
  std::vector<Bytef> packed(size);
  const int status =
      compress(packed.data(), &size, reinterpret_cast<const Bytef*>(text.data()), text.size());
  if (status != Z_OK)
    fail(ErrorCode::kResourceLimit, "text", "expected a text that zlib can pack, got too much");
  return static_cast<double>(text.size()) / static_cast<double>(size);
}

}  // namespace plait::data
