#include "plait/data/video/whole.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace plait::data {
namespace {

using Bytes = std::span<const uint8_t>;

uint64_t big_endian(Bytes bytes, size_t at, size_t count) {
  uint64_t value = 0;
  for (size_t i = 0; i < count; ++i) value = value << 8 | bytes[at + i];
  return value;
}

bool boxes_are_whole(Bytes bytes) {
  for (size_t at = 0; at + 8 <= bytes.size();) {
    uint64_t size = big_endian(bytes, at, 4);
    if (size == 0) return true;  // To the end of the file.
    if (size == 1) {
      if (at + 16 > bytes.size()) return false;
      size = big_endian(bytes, at + 8, 8);
    }
    if (size < 8 || size > bytes.size() - at) return false;
    at += size;
  }
  return true;
}

bool chunks_are_whole(Bytes bytes) {
  for (size_t at = 0; at + 8 <= bytes.size();) {
    if (std::memcmp(bytes.data() + at, "RIFF", 4) != 0) return true;  // What follows is padding.
    uint64_t size = 0;
    for (size_t i = 4; i-- > 0;) size = size << 8 | bytes[at + 4 + i];
    if (size == 0 || size >= 0xFFFFFF00u) return true;
    if (size > bytes.size() - at - 8) return false;
    at += 8 + size + (size & 1);
  }
  return true;
}

/// An EBML element's header at `at`: its number, its length (~0: open) and where it begins. False
/// where the bytes end.
bool element(Bytes bytes, size_t& at, uint64_t& id, uint64_t& size) {
  if (at >= bytes.size()) return false;
  auto id_length = static_cast<size_t>(std::countl_zero(bytes[at])) + 1;
  if (id_length > 4 || at + id_length >= bytes.size()) return false;
  id = big_endian(bytes, at, id_length);
  at += id_length;
  auto length = static_cast<size_t>(std::countl_zero(bytes[at])) + 1;
  if (length > 8 || length > bytes.size() - at) return false;
  uint64_t most = (uint64_t{1} << (7 * length)) - 1;
  size = big_endian(bytes, at, length) & most;
  if (size == most) size = ~uint64_t{0};
  at += length;
  return true;
}

bool segment_is_whole(Bytes bytes) {
  constexpr uint64_t kSegment = 0x18538067;
  uint64_t id = 0, size = 0;
  for (size_t at = 0; element(bytes, at, id, size);) {
    if (size == ~uint64_t{0}) return true;
    if (size > bytes.size() - at) return false;
    if (id == kSegment) return true;
    at += size;
  }
  return false;
}

}  // namespace

bool container_is_whole(Bytes bytes, std::string_view format) {
  if (format.starts_with("mov")) return boxes_are_whole(bytes);
  if (format == "avi") return chunks_are_whole(bytes);
  if (format.starts_with("matroska")) return segment_is_whole(bytes);
  if (format != "gif") return true;
  auto last = std::find_if(bytes.rbegin(), bytes.rend(), [](uint8_t byte) { return byte != 0; });
  return last != bytes.rend() && *last == 0x3B;
}

}  // namespace plait::data
