#pragma once
#include <memory>
#include <string>

#include "plait/train/trainer.h"

namespace plait::train {

/// One line on a terminal that shows where training is: bar, steps, loss, speed, time left, last
/// metrics. Writes to the file descriptor only when that is a terminal (`force` for tests), at most
/// ten times a second. Not thread-safe.
class ProgressBar {
 public:
  explicit ProgressBar(int fd = 2, bool force = false);
  ~ProgressBar();  ///< Ends the line.
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  void update(const Progress& progress);

 private:
  void write(const std::string& text);
  int fd_;
  bool on_, open_ = false;
  double shown_ = -1;
  std::string metrics_;
};

/// "1:02:03", "2:03", "0:07".
std::string format_duration(double seconds);

/// A callback that draws a bar on standard error and never cancels.
ProgressCallback progress_bar();

}  // namespace plait::train
