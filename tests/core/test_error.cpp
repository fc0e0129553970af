#include <gtest/gtest.h>

#include <set>

#include "plait/core/error.h"
#include "plait/core/registry.h"
#include "tests/core/expect_error.h"

namespace plait {
namespace {

TEST(ErrorTest, SaysTheUnitAndKeepsTheCode) {
  try {
    fail(ErrorCode::kNotFound, "loader", "expected a file, got none");
    FAIL();
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "[loader] expected a file, got none");
    EXPECT_EQ(e.code(), ErrorCode::kNotFound);
  }
}

TEST(ErrorTest, EveryCodeHasItsOwnName) {
  std::set<std::string_view> names;
  for (auto code :
       {ErrorCode::kInvalidArgument, ErrorCode::kCorruptData, ErrorCode::kNotFound,
        ErrorCode::kUnavailable, ErrorCode::kResourceLimit, ErrorCode::kIo, ErrorCode::kInternal}) {
    names.insert(to_string(code));
  }
  EXPECT_EQ(names.size(), 7u);
  EXPECT_EQ(names.count("unknown"), 0u);
}

TEST(ErrorTest, RequireThrowsOnlyWhenItMust) {
  EXPECT_NO_THROW(require(true, "unit", "no"));
  tests::expect_error(ErrorCode::kInvalidArgument, "[unit] no",
                      [] { require(false, "unit", "no"); });
}

TEST(RegistryTest, FindsEntriesAndListsThemInErrors) {
  Registry<int> registry("number");
  registry.add({.name = "one", .kind = "k", .create = {}, .tiny = {}, .schema = {}});
  registry.add({.name = "two", .kind = "k", .create = {}, .tiny = {}, .schema = {}});
  EXPECT_EQ(registry.at("two").name, "two");
  EXPECT_TRUE(registry.contains("one"));
  EXPECT_EQ(registry.names(), (std::vector<std::string>{"one", "two"}));
  tests::expect_error(ErrorCode::kInvalidArgument, "expected one of: one, two; got \"three\"",
                      [&] { registry.at("three"); });
  tests::expect_error(ErrorCode::kInternal, "two entries are named one", [&] {
    registry.add({.name = "one", .kind = "k", .create = {}, .tiny = {}, .schema = {}});
  });
}

}  // namespace
}  // namespace plait
