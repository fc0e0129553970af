#include "plait/core/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdlib>
#include <string>

namespace plait {
namespace {

spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug: return spdlog::level::debug;
    case LogLevel::kInfo: return spdlog::level::info;
    case LogLevel::kWarning: return spdlog::level::warn;
    case LogLevel::kError: return spdlog::level::err;
    case LogLevel::kOff: return spdlog::level::off;
  }
  return spdlog::level::warn;
}

spdlog::logger& sink() {
  static const std::shared_ptr<spdlog::logger> logger = [] {
    auto made = std::make_shared<spdlog::logger>(
        "plait", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
    made->set_pattern("%^%L%$ %H:%M:%S %v");
    const char* wanted = std::getenv("PLAIT_LOG");
    auto level = wanted ? spdlog::level::from_str(wanted) : spdlog::level::warn;
    made->set_level(level);
    return made;
  }();
  return *logger;
}

}  // namespace

void log(LogLevel level, std::string_view unit, std::string_view message) {
  sink().log(to_spdlog(level), "[{}] {}", unit, message);
}

void set_log_level(LogLevel level) { sink().set_level(to_spdlog(level)); }

}  // namespace plait
