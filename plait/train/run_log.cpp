#include "plait/train/run_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "plait/core/error.h"
#include "plait/core/file.h"

namespace plait::train {
namespace {

/// The lines of an earlier run that a resumed one does not write again.
std::string lines_until(const std::string& text, int64_t step) {
  std::string out;
  size_t start = 0;
  while (start < text.size()) {
    size_t end = text.find('\n', start);
    if (end == std::string::npos) break;  // Cut by a crash.
    std::string line = text.substr(start, end - start);
    start = end + 1;
    try {
      if (Json::parse(line).get("step", 0) <= step) out += line + "\n";
    } catch (const Error&) {
      // A damaged line is dropped.
    }
  }
  return out;
}

}  // namespace

RunLog::RunLog(std::string path, int64_t keep_until) : path_(std::move(path)) {
  if (path_.empty()) return;
  std::string kept;
  try {
    if (keep_until >= 0 && std::filesystem::exists(path_))
      kept = lines_until(read_file(path_), keep_until);
    write_file_atomic(path_, kept);
  } catch (const Error&) {
    // Opening below says what is wrong; a log that cannot be rewritten is continued as it is.
  }
  fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

RunLog::~RunLog() {
  if (fd_ >= 0) ::close(fd_);
}

std::string RunLog::write(const Json& line) {
  if (path_.empty()) return "";
  std::string text = line.dump() + "\n";
  ssize_t written = fd_ < 0 ? -1 : ::write(fd_, text.data(), text.size());
  if (written == static_cast<ssize_t>(text.size())) return "";
  std::string reason = written >= 0 ? "no space" : std::strerror(errno);
  if (reported_) return "";
  reported_ = true;
  return "cannot write " + path_ + ": " + reason;
}

}  // namespace plait::train
