#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <limits>

#include "plait/core/json.h"
#include "tests/core/expect_error.h"

namespace plait {
namespace {

using tests::expect_error;

TEST(JsonTest, ReadsEveryTypeAndKeepsTheOrder) {
  Json v = Json::parse(
      R"({"z": null, "a": true, "m": -3, "d": 2.5e3, "s": "\u6a21\ud83d\ude00", "l": [1, [], {}]})");
  ASSERT_EQ(v.size(), 6u);
  EXPECT_EQ(v.members()[0].first, "z");
  EXPECT_EQ(v.members()[1].first, "a");
  EXPECT_TRUE(v.at("z").is_null());
  EXPECT_TRUE(v.at("a").as_bool());
  EXPECT_EQ(v.at("m").as_int(), -3);
  EXPECT_EQ(v.at("d").as_double(), 2500.0);
  EXPECT_EQ(v.at("d").as_int(), 2500);
  EXPECT_EQ(v.at("s").as_string(), "模😀");
  EXPECT_EQ(v.at("l").at(1).size(), 0u);
}

TEST(JsonTest, RoundTripIsExact) {
  for (const char* text :
       {"null", "[]", "{}", "-0.1", "1e-300", "9223372036854775807", "-9223372036854775808",
        R"(["\"\\\n\u0000é"])", R"({"a":{"b":[1,2.5,"x",false]}})"}) {
    Json v = Json::parse(text);
    EXPECT_EQ(Json::parse(v.dump()), v) << text;
    EXPECT_EQ(Json::parse(v.dump(2)), v) << text;
  }
  EXPECT_EQ(Json::parse(R"({"a":{"b":[1,2.5,"x",false]}})").dump(),
            R"({"a":{"b":[1,2.5,"x",false]}})");
  EXPECT_EQ(Json(0.1).dump(), "0.1");
}

TEST(JsonTest, IntegersBeyond64BitsBecomeDoubles) {
  Json v = Json::parse("18446744073709551615");
  EXPECT_FALSE(v.is_int());
  EXPECT_DOUBLE_EQ(v.as_double(), 18446744073709551615.0);
  expect_error(ErrorCode::kCorruptData, "expected an integer, got a number", [&] { v.as_int(); });
}

TEST(JsonTest, RefusesWhatIsNotJson) {
  for (const char* text : {"", " ", "{", "[1,]", "{\"a\" 1}", "nul", "\"\xff\"", "1 2", "[1]]",
                           "NaN", "'a'", "\"a", "{\"a\":1,}", "\"\\ud800\"", "01", "\"\x01\""}) {
    expect_error(ErrorCode::kCorruptData, "in file.json, got a syntax error at byte",
                 [&] { Json::parse(text, "file.json"); });
  }
}

TEST(JsonTest, NestingIsLimited) {
  auto nested = [](size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_EQ(Json::parse(nested(256)).dump(), nested(256));
  expect_error(ErrorCode::kCorruptData, "256 levels in deep",
               [&] { Json::parse(nested(257), "deep"); });
  expect_error(ErrorCode::kCorruptData, "256 levels",
               [&] { Json::parse(std::string(10'000'000, '[')); });
  std::string objects;
  for (int i = 0; i < 300; ++i) objects += "{\"a\":";
  expect_error(ErrorCode::kCorruptData, "256 levels", [&] { Json::parse(objects); });
}

TEST(JsonTest, WrongTypesAreNamed) {
  Json v = Json::parse(R"({"s": "x", "l": [1, "a"]})");
  expect_error(ErrorCode::kCorruptData, "expected a boolean, got a string",
               [&] { v.at("s").as_bool(); });
  expect_error(ErrorCode::kCorruptData, "expected an array, got an object", [&] { v.items(); });
  expect_error(ErrorCode::kCorruptData, "expected an object, got an array",
               [&] { v.at("l").members(); });
  expect_error(ErrorCode::kCorruptData, "expected an integer, got a string",
               [&] { v.at("l").as_ints(); });
  expect_error(ErrorCode::kCorruptData, "expected a member \"q\"", [&] { v.at("q"); });
  expect_error(ErrorCode::kCorruptData, "got an array of 2", [&] { v.at("l").at(2); });
  EXPECT_EQ(v.find("q"), nullptr);
  EXPECT_EQ(v.at("s").find("q"), nullptr);
  EXPECT_THROW(Json(2.5).as_int(), Error);
  EXPECT_THROW(Json(1e300).as_int(), Error);
  EXPECT_THROW(Json(std::numeric_limits<double>::quiet_NaN()).as_int(), Error);
}

TEST(JsonTest, BuildsAndChangesValues) {
  Json v;
  v["a"] = 1;
  v["b"].push_back("x");
  v["b"].push_back(nullptr);
  v["a"] = 2;
  EXPECT_EQ(v.dump(), R"({"a":2,"b":["x",null]})");
  v.erase("a");
  EXPECT_FALSE(v.contains("a"));
  EXPECT_EQ(v.get("a", 7), 7);
  EXPECT_EQ(v.get("missing", "fallback"), "fallback");
  EXPECT_EQ(Json(std::vector<int64_t>{1, 2}).dump(), "[1,2]");
}

TEST(JsonTest, PrintsInvalidUtf8AndNonFiniteNumbersAsJson) {
  std::string text =
      Json::array({Json("\xff"), Json(std::numeric_limits<double>::infinity())}).dump();
  EXPECT_EQ(Json::parse(text).dump(), text);
}

TEST(JsonTest, WritesAtomicallyAndReadsBack) {
  tests::TemporaryFolder folder;
  Json v = Json::parse(R"({"a": [1, 2]})");
  v.write(folder / "x.json");
  EXPECT_EQ(Json::read(folder / "x.json"), v);
  Json(5).write(folder / "x.json");
  EXPECT_EQ(Json::read(folder / "x.json"), Json(5));
  size_t files = 0;
  for ([[maybe_unused]] auto& entry : std::filesystem::directory_iterator(folder.path())) ++files;
  EXPECT_EQ(files, 1u) << "a temporary file was left";
  expect_error(ErrorCode::kResourceLimit, "x.json", [&] { Json::read(folder / "x.json", 1); });
  expect_error(ErrorCode::kNotFound, "none.json", [&] { Json::read(folder / "none.json"); });
}

}  // namespace
}  // namespace plait
