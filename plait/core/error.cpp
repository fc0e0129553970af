#include "plait/core/error.h"

namespace plait {

std::string_view to_string(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument: return "invalid argument";
    case ErrorCode::kCorruptData: return "corrupt data";
    case ErrorCode::kNotFound: return "not found";
    case ErrorCode::kUnavailable: return "unavailable";
    case ErrorCode::kResourceLimit: return "resource limit";
    case ErrorCode::kIo: return "input/output";
    case ErrorCode::kInternal: return "internal";
  }
  return "unknown";
}

void fail(ErrorCode code, std::string_view unit, const std::string& message) {
  throw Error(code, "[" + std::string(unit) + "] " + message);
}

}  // namespace plait
