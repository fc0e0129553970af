#pragma once
#include <string_view>

namespace plait {

enum class LogLevel { kDebug, kInfo, kWarning, kError, kOff };

/// Structured log to standard error through one process-wide sink (the only mutable global of the
/// library). Thread-safe. The starting level comes from PLAIT_LOG (debug, info, warning, error,
/// off); default: warning.
void log(LogLevel level, std::string_view unit, std::string_view message);
void set_log_level(LogLevel level);

inline void log_debug(std::string_view unit, std::string_view message) {
  log(LogLevel::kDebug, unit, message);
}
inline void log_info(std::string_view unit, std::string_view message) {
  log(LogLevel::kInfo, unit, message);
}
inline void log_warning(std::string_view unit, std::string_view message) {
  log(LogLevel::kWarning, unit, message);
}
inline void log_error(std::string_view unit, std::string_view message) {
  log(LogLevel::kError, unit, message);
}

}  // namespace plait
