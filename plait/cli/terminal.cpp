#include "plait/cli/terminal.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace plait::cli {
namespace {

/// Columns that a UTF-8 text takes; East Asian wide characters count as two.
size_t columns(const std::string& text) {
  size_t n = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    auto c = static_cast<unsigned char>(text[i]);
    if ((c & 0xC0) == 0x80) continue;
    n += c >= 0xE3 && c <= 0xED ? 2 : c >= 0xF0 ? 2 : 1;
  }
  return n;
}

bool numeric(const std::string& text) {
  return !text.empty() &&
         (std::isdigit(static_cast<unsigned char>(text[0])) || text[0] == '-' || text == "–") &&
         text.find_first_not_of("0123456789.,%+-– ") == std::string::npos;
}

std::string duration(double seconds) {
  char buffer[32];
  auto s = static_cast<long>(seconds);
  if (s >= 3600) {
    std::snprintf(buffer, sizeof buffer, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
  } else {
    std::snprintf(buffer, sizeof buffer, "%ld:%02ld", s / 60, s % 60);
  }
  return buffer;
}

}  // namespace

ProgressBar::ProgressBar(std::string title)
    : title_(std::move(title)),
      terminal_(isatty(STDERR_FILENO)),
      start_(std::chrono::steady_clock::now()) {}

ProgressBar::~ProgressBar() { finish(); }

void ProgressBar::update(double done, double total, const std::string& note) {
  auto now = std::chrono::steady_clock::now();
  if (!terminal_ || (drawn_ && now - last_ < std::chrono::milliseconds(100) && done < total))
    return;
  last_ = now;
  drawn_ = true;
  double share = total > 0 ? std::clamp(done / total, 0.0, 1.0) : 0;
  double elapsed = std::chrono::duration<double>(now - start_).count();
  constexpr int kWidth = 26;
  std::string bar;
  for (int i = 0; i < kWidth; ++i) bar += i < static_cast<int>(share * kWidth + 0.5) ? "━" : "┄";
  std::string left =
      share > 0.01 ? duration(elapsed / share * (1 - share)) + " left" : duration(elapsed);
  std::fprintf(stderr, "\r\033[2K%-28s %s %3.0f %%  %s  %s", title_.c_str(), bar.c_str(),
               100 * share, left.c_str(), note.substr(0, 40).c_str());
  std::fflush(stderr);
}

void ProgressBar::finish() {
  if (!drawn_) return;
  drawn_ = false;
  double elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  std::fprintf(stderr, "\r\033[2K%-28s done in %s\n", title_.c_str(), duration(elapsed).c_str());
}

void print_table(const std::vector<std::string>& header,
                 const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  std::vector<bool> right(header.size(), true);
  for (const std::string& cell : header) widths.push_back(columns(cell));
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], columns(row[i]));
      if (!row[i].empty() && !numeric(row[i])) right[i] = false;
    }
  }
  auto print = [&](const std::vector<std::string>& row) {
    std::string line = " ";
    for (size_t i = 0; i < row.size(); ++i) {
      std::string pad(widths[i] - columns(row[i]), ' ');
      line += right[i] ? pad + row[i] : i + 1 < row.size() ? row[i] + pad : row[i];
      line += "  ";
    }
    std::printf("%s\n", line.c_str());
  };
  print(header);
  size_t total = 1;
  for (size_t w : widths) total += w + 2;
  std::string rule(1, ' ');
  for (size_t i = 1; i + 1 < total; ++i) rule += "─";
  std::printf("%s\n", rule.c_str());
  for (const auto& row : rows) print(row);
}

std::string format(const char* pattern, double value) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, pattern, value);
  return buffer;
}

bool stdout_is_terminal() { return isatty(STDOUT_FILENO); }

}  // namespace plait::cli
