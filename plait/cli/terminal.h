#pragma once
#include <chrono>
#include <string>
#include <vector>

namespace plait::cli {

/// A progress line on standard error, drawn at most ten times a second and only when that is a
/// terminal.
class ProgressBar {
 public:
  explicit ProgressBar(std::string title);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  /// `total` 0 = unknown. The time left is estimated from the share done.
  void update(double done, double total, const std::string& note = "");
  void finish();

 private:
  std::string title_;
  bool terminal_ = false;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point start_, last_;
};

/// A plain table with aligned columns on standard output; numbers are right-aligned.
void print_table(const std::vector<std::string>& header,
                 const std::vector<std::vector<std::string>>& rows);

/// printf for one double.
std::string format(const char* pattern, double value);

/// True when standard output is a terminal (then colours may be used).
bool stdout_is_terminal();

}  // namespace plait::cli
