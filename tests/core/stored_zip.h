#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace plait::tests {

inline void append(std::string& out, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out += i < 8 ? static_cast<char>(value >> (8 * i)) : '\0';
}

/// How to spoil an archive.
struct ZipSpoil {
  uint16_t method = 0;
  uint16_t flags = 0;
  bool zip64 = false;        ///< Sizes and offsets in the 64-bit fields.
  bool overlapping = false;  ///< Every directory entry points to the first file.
  uint64_t extra_size = 0;   ///< Added to every size in the directory.
};

/// A zip archive of stored entries (checksums are left zero; the reader does not use them).
inline std::string stored_zip(const std::vector<std::pair<std::string, std::string>>& files,
                              const ZipSpoil& spoil = {}) {
  std::string out;
  std::string directory;
  for (const auto& [name, content] : files) {
    uint64_t offset = spoil.overlapping ? 0 : out.size();
    uint64_t size = content.size() + spoil.extra_size;
    std::string extra;
    if (spoil.zip64) {
      append(extra, 1, 2);
      append(extra, 24, 2);
      append(extra, size, 8);
      append(extra, size, 8);
      append(extra, offset, 8);
    }
    append(directory, 0x02014b50, 4);
    append(directory, 45, 2);
    append(directory, 45, 2);
    append(directory, spoil.flags, 2);
    append(directory, spoil.method, 2);
    append(directory, 0, 8);  // time, date, checksum
    append(directory, spoil.zip64 ? 0xffffffff : size, 4);
    append(directory, spoil.zip64 ? 0xffffffff : size, 4);
    append(directory, name.size(), 2);
    append(directory, extra.size(), 2);
    append(directory, 0, 10);  // comment, disk, attributes
    append(directory, spoil.zip64 ? 0xffffffff : offset, 4);
    directory += name + extra;

    append(out, 0x04034b50, 4);
    append(out, 45, 2);
    append(out, spoil.flags, 2);
    append(out, spoil.method, 2);
    append(out, 0, 8);
    append(out, content.size(), 4);
    append(out, content.size(), 4);
    append(out, name.size(), 2);
    append(out, 0, 2);
    out += name + content;
  }
  uint64_t start = out.size();
  out += directory;
  if (spoil.zip64) {
    uint64_t end64 = out.size();
    append(out, 0x06064b50, 4);
    append(out, 44, 8);
    append(out, 45, 2);
    append(out, 45, 2);
    append(out, 0, 8);
    append(out, files.size(), 8);
    append(out, files.size(), 8);
    append(out, directory.size(), 8);
    append(out, start, 8);
    append(out, 0x07064b50, 4);
    append(out, 0, 4);
    append(out, end64, 8);
    append(out, 1, 4);
  }
  append(out, 0x06054b50, 4);
  append(out, 0, 4);
  append(out, spoil.zip64 ? 0xffff : files.size(), 2);
  append(out, spoil.zip64 ? 0xffff : files.size(), 2);
  append(out, spoil.zip64 ? 0xffffffff : directory.size(), 4);
  append(out, spoil.zip64 ? 0xffffffff : start, 4);
  append(out, 0, 2);
  return out;
}

/// An archive as torch.save makes it, around any pickle, with one storage "0".
inline std::string pth_archive(const std::string& pickle,
                               const std::string& storage = std::string(64, '\1'),
                               const ZipSpoil& spoil = {}) {
  return stored_zip({{"archive/data.pkl", pickle},
                     {"archive/byteorder", "little"},
                     {"archive/data/0", storage},
                     {"archive/version", "3\n"}},
                    spoil);
}

}  // namespace plait::tests
