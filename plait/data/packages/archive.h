#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace plait::data {

/// What an archive may contain before it is refused.
struct ArchiveLimits {
  int64_t max_bytes = int64_t{4} << 30;      ///< Unpacked bytes in all.
  int64_t max_files = 300'000;               ///< Entries in all.
  int64_t max_ratio = 200;                   ///< Unpacked bytes per packed byte …
  int64_t ratio_floor = int64_t{256} << 20;  ///< … once more than this has been unpacked.
};

struct ArchiveReport {
  int64_t files = 0;
  int64_t bytes = 0;
  std::string sha256;  ///< Of the sorted lines "path, NUL, SHA-256 of the file, newline": the same
                       ///< content, the same hash.
};

/// Unpacks a zip (wheel), a tar with any usual compression (npm) or a Debian package (its data.tar)
/// into the existing, empty folder `dir`. `only` names the paths ("usr/share/x") whose content is
/// wanted; empty means all. Nothing is ever written outside `dir`: absolute names, "..", control
/// characters, devices and links that leave the tree are refused, links inside it become copies,
/// modes and owners are not taken over. `step` is called with the bytes written so far.
/// @throws Error kCorruptData naming archive and entry; kResourceLimit for bombs; kIo for a full
/// disk.
ArchiveReport extract_archive(const std::string& archive, const std::string& dir,
                              const std::vector<std::string>& only = {},
                              const ArchiveLimits& limits = {},
                              const std::function<void(int64_t)>& step = {});

/// The content of a file packed alone (gzip, xz, zstd, bzip2). @throws Error kNotFound;
/// kCorruptData; kResourceLimit beyond `max_bytes`.
std::string read_packed_file(const std::string& path, size_t max_bytes);

}  // namespace plait::data
