#include "plait/data/deflate.h"

#include <zlib.h>

#include <algorithm>
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

std::string inflate_raw(std::string_view bytes, size_t max_bytes, const std::string& name) {
  z_stream stream{};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK)
    fail(ErrorCode::kResourceLimit, "dicom", name + ": expected memory for zlib, got none");
  struct End {
    z_stream* stream;
    ~End() { inflateEnd(stream); }
  } end{&stream};
  std::string out;
  std::string block(size_t{1} << 16, '\0');
  size_t at = 0;
  int rc = Z_OK;
  while (rc != Z_STREAM_END) {
    if (stream.avail_in == 0 && at < bytes.size()) {
      size_t count = std::min(bytes.size() - at, size_t{1} << 20);
      // zlib only reads from it.
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data() + at));
      stream.avail_in = static_cast<uInt>(count);
      at += count;
    }
    stream.next_out = reinterpret_cast<Bytef*>(block.data());
    stream.avail_out = static_cast<uInt>(block.size());
    rc = inflate(&stream, Z_NO_FLUSH);
    if (rc != Z_OK && rc != Z_STREAM_END) {
      fail(ErrorCode::kCorruptData, "dicom",
           name + ": expected a whole deflated data set, got damaged or truncated data");
    }
    size_t made = block.size() - stream.avail_out;
    if (made > max_bytes - out.size()) {
      fail(ErrorCode::kResourceLimit, "dicom",
           name + ": expected a deflated data set of at most " + std::to_string(max_bytes) +
               " bytes, got more");
    }
    out.append(block, 0, made);
  }
  return out;
}

}  // namespace plait::data
