#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <string>

namespace plait {

/// One file of a zip archive.
struct ZipEntry {
  std::span<const uint8_t> bytes;
  bool stored = true;  ///< False: compressed, `bytes` is what lies in the archive.
};

/// The entries of a zip archive by name, as views of `bytes`; directories are left out. PyTorch's
/// weights are all stored, so nothing here decompresses. Reads the central directory, zip64
/// included. Format: PKWARE APPNOTE 6.3.
/// @throws Error kCorruptData that names `name` and the entry: no directory, an entry outside the
/// file, overlapping, encrypted or listed twice.
std::map<std::string, ZipEntry> read_zip(std::span<const uint8_t> bytes, const std::string& name);

/// Whether the bytes begin like a zip archive with entries.
bool looks_like_zip(std::span<const uint8_t> bytes);

}  // namespace plait
