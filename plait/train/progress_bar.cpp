#include "plait/train/progress_bar.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace plait::train {
namespace {

constexpr int kBarWidth = 24;
constexpr double kInterval = 0.1;  // Seconds between drawings.

std::string number(const char* format, double value) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, format, value);
  return buffer;
}

size_t columns(int fd) {
  winsize size{};
  return ::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 120;
}

}  // namespace

std::string format_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 3.6e8) return "?";
  auto total = static_cast<int64_t>(std::llround(seconds));
  char buffer[64];
  if (total >= 3600) {
    std::snprintf(buffer, sizeof buffer, "%ld:%02ld:%02ld", static_cast<long>(total / 3600),
                  static_cast<long>(total / 60 % 60), static_cast<long>(total % 60));
  } else {
    std::snprintf(buffer, sizeof buffer, "%ld:%02ld", static_cast<long>(total / 60),
                  static_cast<long>(total % 60));
  }
  return buffer;
}

ProgressBar::ProgressBar(int fd, bool force) : fd_(fd), on_(force || ::isatty(fd) == 1) {}

ProgressBar::~ProgressBar() {
  if (open_) write("\n");
}

void ProgressBar::update(const Progress& p) {
  if (!on_) return;
  if (!p.metrics.empty()) {
    metrics_.clear();
    for (const auto& [name, value] : p.metrics)
      metrics_ += "  " + name + " " + number("%.4g", value);
  }
  if (!p.warning.empty()) write("\r\x1b[K" + p.warning + "\n");
  bool last = p.step >= p.total_steps;
  if (!last && shown_ >= 0 && p.elapsed_seconds - shown_ < kInterval) return;
  shown_ = p.elapsed_seconds;
  double share =
      p.total_steps > 0 ? static_cast<double>(p.step) / static_cast<double>(p.total_steps) : 1;
  int full = static_cast<int>(std::clamp(share, 0.0, 1.0) * kBarWidth);
  std::string line = number("%3.0f%% ", 100 * share) + "[" + std::string(full, '=') +
                     std::string(kBarWidth - full, ' ') + "] " + std::to_string(p.step) + "/" +
                     std::to_string(p.total_steps) + number("  epoch %.2f", p.epoch) +
                     number("  loss %.4f", p.loss) + number("  %.0f items/s", p.items_per_second) +
                     (last ? "  in " + format_duration(p.elapsed_seconds)
                           : "  left " + format_duration(p.eta_seconds)) +
                     metrics_;
  // A line that wraps could not be drawn over.
  write("\r" + line.substr(0, columns(fd_) - 1) + "\x1b[K");
  open_ = true;
}

void ProgressBar::write(const std::string& text) {
  // A closed terminal must not stop training.
  [[maybe_unused]] ssize_t ignored = ::write(fd_, text.data(), text.size());
}

ProgressCallback progress_bar() {
  auto bar = std::make_shared<ProgressBar>();
  return [bar](const Progress& p) {
    bar->update(p);
    return true;
  };
}

}  // namespace plait::train
