#pragma once
#include <cstdint>
#include <string_view>

#include "plait/core/error.h"

namespace plait::fuzz {

inline std::string_view text(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

/// Runs a parser on hostile bytes. plait::Error is the permitted way to refuse them, except
/// kInternal: whatever else escapes (std::exception, c10::Error) is a finding.
template <class F>
int guarded(F&& parse) {
  try {
    parse();
  } catch (const Error& e) {
    if (e.code() == ErrorCode::kInternal) throw;
  }
  return 0;
}

}  // namespace plait::fuzz
