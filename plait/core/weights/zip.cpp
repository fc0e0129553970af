#include "plait/core/weights/zip.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "plait/core/error.h"

namespace plait {
namespace {

constexpr uint32_t kLocalHeader = 0x04034b50;
constexpr uint32_t kDirectoryEntry = 0x02014b50;
constexpr uint32_t kDirectoryEnd = 0x06054b50;
constexpr uint32_t kDirectoryEnd64 = 0x06064b50;
constexpr uint32_t kLocator64 = 0x07064b50;
constexpr size_t kDirectoryEndSize = 22;
constexpr size_t kMaxComment = 0xffff;

/// Little-endian numbers at checked positions.
class Reader {
 public:
  Reader(std::span<const uint8_t> bytes, const std::string& name) : bytes_(bytes), name_(name) {}

  [[noreturn]] void bad(const std::string& what) const {
    fail(ErrorCode::kCorruptData, "zip", name_ + ": " + what);
  }

  template <class T>
  T at(uint64_t position) const {
    if (position > bytes_.size() || bytes_.size() - position < sizeof(T))
      bad("expected more bytes, got the end");
    T value;
    std::memcpy(&value, bytes_.data() + position, sizeof(T));
    return value;
  }

  std::span<const uint8_t> slice(uint64_t position, uint64_t size) const {
    if (position > bytes_.size() || bytes_.size() - position < size)
      bad("expected more bytes, got the end");
    return bytes_.subspan(position, size);
  }

  size_t size() const { return bytes_.size(); }

 private:
  std::span<const uint8_t> bytes_;
  const std::string& name_;
};

struct Directory {
  uint64_t entries = 0;
  uint64_t size = 0;
  uint64_t offset = 0;
};

Directory find_directory(const Reader& in) {
  if (in.size() < kDirectoryEndSize)
    in.bad("expected a zip archive, got " + std::to_string(in.size()) + " bytes");
  size_t last = in.size() - kDirectoryEndSize;
  size_t first = last > kMaxComment ? last - kMaxComment : 0;
  size_t end = last + 1;
  for (size_t p = last + 1; p-- > first;) {
    if (in.at<uint32_t>(p) == kDirectoryEnd && in.at<uint16_t>(p + 20) == last - p) {
      end = p;
      break;
    }
  }
  if (end > last) in.bad("expected a zip directory at the end, got none (is the file truncated?)");
  Directory out{in.at<uint16_t>(end + 10), in.at<uint32_t>(end + 12), in.at<uint32_t>(end + 16)};
  bool large = out.entries == 0xffff || out.size == 0xffffffff || out.offset == 0xffffffff;
  if (large && end >= 20 && in.at<uint32_t>(end - 20) == kLocator64) {
    uint64_t end64 = in.at<uint64_t>(end - 12);
    if (in.at<uint32_t>(end64) != kDirectoryEnd64)
      in.bad("expected a zip64 directory, got something else");
    out = {in.at<uint64_t>(end64 + 32), in.at<uint64_t>(end64 + 40), in.at<uint64_t>(end64 + 48)};
  }
  return out;
}

/// Replaces the fields that say "too large" by those of the zip64 extra field, which lists them in
/// this order.
void read_zip64(const Reader& in, uint64_t extra, uint64_t extra_size,
                std::initializer_list<uint64_t*> fields) {
  if (std::all_of(fields.begin(), fields.end(), [](uint64_t* f) { return *f != 0xffffffff; }))
    return;
  uint64_t end = extra + extra_size;
  for (uint64_t p = extra; p + 4 <= end;) {
    uint16_t id = in.at<uint16_t>(p);
    uint64_t block_end = p + 4 + in.at<uint16_t>(p + 2);
    p += 4;
    if (id == 1) {
      for (uint64_t* field : fields) {
        if (*field != 0xffffffff) continue;
        if (p + 8 > block_end) in.bad("expected 64-bit sizes in the zip64 field, got its end");
        *field = in.at<uint64_t>(p);
        p += 8;
      }
      return;
    }
    p = block_end;
  }
  in.bad("expected a zip64 field, got none");
}

}  // namespace

bool looks_like_zip(std::span<const uint8_t> bytes) {
  uint32_t signature = 0;
  if (bytes.size() >= 4) std::memcpy(&signature, bytes.data(), 4);
  return signature == kLocalHeader;
}

std::map<std::string, ZipEntry> read_zip(std::span<const uint8_t> bytes, const std::string& name) {
  Reader in(bytes, name);
  Directory directory = find_directory(in);
  in.slice(directory.offset, directory.size);
  std::map<std::string, ZipEntry> out;
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  uint64_t p = directory.offset;
  for (uint64_t i = 0; i < directory.entries; ++i) {
    if (in.at<uint32_t>(p) != kDirectoryEntry)
      in.bad("expected a zip directory entry " + std::to_string(i));
    uint16_t flags = in.at<uint16_t>(p + 8);
    uint16_t method = in.at<uint16_t>(p + 10);
    uint64_t packed = in.at<uint32_t>(p + 20);
    uint64_t size = in.at<uint32_t>(p + 24);
    uint64_t local = in.at<uint32_t>(p + 42);
    uint16_t name_size = in.at<uint16_t>(p + 28);
    uint16_t extra_size = in.at<uint16_t>(p + 30);
    uint16_t comment_size = in.at<uint16_t>(p + 32);
    auto text = in.slice(p + 46, name_size);
    std::string entry(reinterpret_cast<const char*>(text.data()), text.size());
    in.slice(p + 46 + name_size, extra_size);
    read_zip64(in, p + 46 + name_size, extra_size, {&size, &packed, &local});
    p += 46 + name_size + extra_size + comment_size;

    std::string where = "entry " + std::to_string(i) + ": ";
    if (flags & 1) in.bad(where + "expected no encryption");
    if (method == 0 && packed != size) in.bad(where + "expected equal sizes of a stored entry");
    if (in.at<uint32_t>(local) != kLocalHeader) in.bad(where + "expected a local header");
    uint64_t start = local + 30 + in.at<uint16_t>(local + 26) + in.at<uint16_t>(local + 28);
    auto content = in.slice(start, packed);
    if (entry.ends_with('/')) continue;
    // Overlapping entries would let a small file claim an unbounded amount of data.
    ranges.emplace_back(local, start + packed);
    if (!out.emplace(std::move(entry), ZipEntry{content, method == 0}).second)
      in.bad(where + "expected a new name, got one listed before");
  }
  std::sort(ranges.begin(), ranges.end());
  for (size_t i = 1; i < ranges.size(); ++i) {
    if (ranges[i].first < ranges[i - 1].second)
      in.bad("expected separate entries, got overlapping ones");
  }
  return out;
}

}  // namespace plait
