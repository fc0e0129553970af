#pragma once
#include <cstdint>
#include <functional>
#include <string>

namespace plait::data {

/// What is going on in a long download or conversion. `total` is 0 when it is not known.
struct ProgressEvent {
  std::string step;  ///< "download", "verify", "unpack", "render" ...
  std::string what;  ///< The package, data set or model.
  int64_t done = 0;
  int64_t total = 0;
  std::string unit = "bytes";  ///< Or "items".
};
/// Called from the thread that asked for the work; may throw to cancel it.
using Progress = std::function<void(const ProgressEvent&)>;

/// PLAIT_CACHE, else XDG_CACHE_HOME/plait, else ~/.cache/plait; not made. @throws Error kNotFound
/// when none is set.
std::string cache_dir();

/// Makes cache_dir()/`key` once: when it is not there (or `valid` says no to it), calls `make` with
/// the path of an empty folder on the same disk and renames that into place, so that nobody ever
/// sees half of it. A lock file keeps other processes and threads out meanwhile; they wait and then
/// find the finished folder. Returns the folder's path. `key` is made of names and '/'. What is
/// left by a crash is removed by the next call.
std::string cached_folder(const std::string& key,
                          const std::function<bool(const std::string&)>& valid,
                          const std::function<void(const std::string&)>& make,
                          const Progress& progress = {});

/// The same file under another name: a hard link, or a copy where links are not possible.
void link_or_copy(const std::string& from, const std::string& to);

}  // namespace plait::data
