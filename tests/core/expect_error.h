#pragma once
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "plait/core/error.h"

namespace plait::tests {

/// Expects that `call` throws an Error of this code whose message holds `part`.
template <class F>
void expect_error(ErrorCode code, const std::string& part, F&& call) {
  try {
    call();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), code) << e.what();
    EXPECT_NE(std::string(e.what()).find(part), std::string::npos)
        << "expected \"" << part << "\" in: " << e.what();
    return;
  }
  ADD_FAILURE() << "expected an error with \"" << part << "\", got none";
}

/// A folder of its own for one test, removed at the end.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "plait-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace plait::tests
