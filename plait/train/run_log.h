#pragma once
#include <string>

#include "plait/core/json.h"

namespace plait::train {

/// A JSON-lines file, one object per line, each written at once so that a crash cuts at most the
/// last line. A failed write (full disk) never stops training: the first one is reported, later
/// ones are tried again quietly.
class RunLog {
 public:
  /// `path` empty: nothing is written. Keeps the lines of steps up to `keep_until` (−1: starts
  /// anew).
  RunLog(std::string path, int64_t keep_until);
  ~RunLog();
  RunLog(const RunLog&) = delete;
  RunLog& operator=(const RunLog&) = delete;
  /// @return what went wrong, once; else "".
  std::string write(const Json& line);

 private:
  std::string path_;
  int fd_ = -1;
  bool reported_ = false;
};

}  // namespace plait::train
