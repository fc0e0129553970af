#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace plait {

/// The whole file. @throws Error kNotFound, kIo, or kResourceLimit when it is larger than
/// `max_bytes`.
std::string read_file(const std::string& path, size_t max_bytes = size_t{4} << 30);

/// Writes a temporary file beside `path`, syncs it and renames it: after a crash or on a full disk
/// the old file is whole.
void write_file_atomic(const std::string& path, std::string_view bytes);

/// A read-only memory map of a file; the bytes stay valid while a copy of the shared pointer lives.
class MappedFile {
 public:
  static std::shared_ptr<const MappedFile> open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  std::span<const uint8_t> bytes() const { return bytes_; }
  const std::string& path() const { return path_; }

 private:
  MappedFile() = default;
  std::string path_;
  std::span<const uint8_t> bytes_;
};

}  // namespace plait
