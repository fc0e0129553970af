// Stands in for archive.cpp and package.cpp in builds without libarchive.
#include "plait/core/error.h"
#include "plait/data/packages/archive.h"
#include "plait/data/packages/package.h"

namespace plait::data {
namespace {
[[noreturn]] void missing() {
  fail(ErrorCode::kUnavailable, "packages",
       "this build has no libarchive: configure with PLAIT_WITH_MEDIA=ON");
}
}  // namespace

ArchiveReport extract_archive(const std::string&, const std::string&,
                              const std::vector<std::string>&, const ArchiveLimits&,
                              const std::function<void(int64_t)>&) {
  missing();
}
std::string read_packed_file(const std::string&, size_t) { missing(); }
std::string fetch(const Package&, const Progress&) { missing(); }
bool is_fetched(const Package&) { return false; }

}  // namespace plait::data
