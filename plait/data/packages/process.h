#pragma once
#include <chrono>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace plait::data {

struct ProcessOptions {
  std::chrono::milliseconds timeout{60'000};
  std::string directory;  ///< Working directory; "" keeps the caller's.
  std::vector<std::pair<std::string, std::string>> environment;  ///< Added to the caller's own.
  size_t max_output = size_t{1} << 20;  ///< Of each stream the last so many bytes are kept.
  std::function<void()>
      tick;  ///< Called about ten times a second; what it throws ends the program and passes on.
};

struct ProcessResult {
  int status = 0;  ///< The exit status; 128 + signal when a signal ended it.
  std::string output;
  std::string errors;
};

/// Runs a program to its end without a shell: argv[0] is looked up on PATH, standard input is
/// empty, no other descriptor of the caller is inherited. The program leads a process group of its
/// own, which is killed when time runs out or `tick` throws. Thread-safe. @throws Error
/// kUnavailable when the program cannot be started, kResourceLimit on timeout.
ProcessResult run_process(const std::vector<std::string>& argv, const ProcessOptions& options = {});

/// The same; @throws Error kUnavailable with the end of the program's own words when its status is
/// not 0.
ProcessResult run_checked(const std::vector<std::string>& argv, const ProcessOptions& options = {});

/// The last few lines of a program's errors (or, when it had none, of its output) on one line, for
/// messages.
std::string last_words(const ProcessResult& result);

}  // namespace plait::data
