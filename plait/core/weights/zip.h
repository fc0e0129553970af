#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <string>

namespace plait {

/// The stored (uncompressed) entries of a zip archive by name, as views of `bytes`; PyTorch's archives have no others.
/// Reads the central directory, zip64 included. Directories are left out.
/// Format: PKWARE APPNOTE 6.3.
/// @throws Error kCorruptData that names `name` and the entry: no directory, an entry outside the file, overlapping,
/// compressed, encrypted or listed twice.
std::map<std::string, std::span<const uint8_t>> read_stored_zip(std::span<const uint8_t> bytes,
                                                                const std::string& name);

/// Whether the bytes begin like a zip archive with entries.
bool looks_like_zip(std::span<const uint8_t> bytes);

}  // namespace plait
