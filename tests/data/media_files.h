#pragma once
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "plait/core/error.h"
#include "plait/core/file.h"

namespace plait::data {

inline std::string media_file(const std::string& name) {
  return PLAIT_SOURCE_DIR "/tests/data/files/" + name;
}

/// The error that `f` throws; fails the test when there is none.
template <class F>
Error error_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e;
  }
  ADD_FAILURE() << "expected an error, got none";
  return Error(ErrorCode::kInternal, "none");
}

/// Calls `decode` on the file cut at many places and with bits flipped: it must give a value or an
/// Error that names `name`.
template <class F>
void attack(const std::string& bytes, const std::string& name, F&& decode) {
  auto attempt = [&](const std::string& damaged) {
    try {
      decode(damaged);
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(name), std::string::npos) << e.what();
      EXPECT_NE(e.code(), ErrorCode::kInternal) << e.what();
    }
  };
  size_t step = std::max<size_t>(1, bytes.size() / 60);
  for (size_t size = 0; size < bytes.size(); size += size < 64 ? 1 : step)
    attempt(bytes.substr(0, size));
  std::mt19937 random(7);
  for (int round = 0; round < 150; ++round) {
    std::string damaged = bytes;
    // Headers are where sizes are, so half of the flips go there.
    size_t span = round % 2 ? bytes.size() : std::min<size_t>(bytes.size(), 64);
    for (int flips = 1 + round % 4; flips > 0; --flips)
      damaged[random() % span] ^= static_cast<char>(1 << random() % 8);
    attempt(damaged);
  }
}

}  // namespace plait::data
