#include <gtest/gtest.h>

#include "plait/core/config.h"
#include "tests/core/expect_error.h"

namespace plait {
namespace {

using tests::expect_error;

struct Example {
  int64_t width = 8;
  double rate = 0.5;
  bool bias = true;
  std::string kind = "a";
  std::vector<int64_t> sizes = {1, 2};
  std::vector<double> scales = {};
  std::vector<std::string> names = {"x"};
  Json nested;

  void visit(ConfigVisitor& v) {
    v.field("width", width, "Width of it", {.min = 1, .max = 100});
    v.field("rate", rate, "A rate", {.min = 0, .max = 1});
    v.field("bias", bias, "Whether");
    v.field("kind", kind, "Which", {.one_of = {"a", "b"}});
    v.field("sizes", sizes, "Sizes", {.min = 0});
    v.field("scales", scales, "Scales");
    v.field("names", names, "Names", {.one_of = {"x", "y"}});
    v.field("nested", nested, "Anything");
  }
  void validate() const {
    if (width % 2) fail(ErrorCode::kInvalidArgument, "example", "expected an even width");
  }
};

Example read(const char* text, UnknownKeys unknown = UnknownKeys::kError) {
  return read_config<Example>(Json::parse(text), "config.json:streams.image", unknown);
}

TEST(ConfigTest, MissingAndNullKeysKeepDefaults) {
  Example c = read(R"({"kind": "b", "rate": null})");
  EXPECT_EQ(c.kind, "b");
  EXPECT_EQ(c.rate, 0.5);
  EXPECT_EQ(c.sizes, (std::vector<int64_t>{1, 2}));
}

TEST(ConfigTest, RoundTrip) {
  Example c = read(
      R"({"width": 10, "rate": 1, "bias": false, "kind": "b", "sizes": [3], "scales": [0.25, 2],
                       "names": ["y", "x"], "nested": {"deep": [1]}})");
  Json json = write_config(c);
  EXPECT_EQ(write_config(read_config<Example>(json, "again")), json);
  EXPECT_EQ(json.at("nested").dump(), R"({"deep":[1]})");
  EXPECT_EQ(json.members()[0].first, "width");
}

TEST(ConfigTest, UnknownKeysNameThePath) {
  expect_error(ErrorCode::kInvalidArgument,
               "config.json:streams.image: expected one of: ", [] { read(R"({"widht": 3})"); });
  expect_error(ErrorCode::kInvalidArgument, "got the key \"widht\"",
               [] { read(R"({"widht": 3})"); });
  EXPECT_EQ(read(R"({"widht": 3})", UnknownKeys::kLog).width, 8);
}

TEST(ConfigTest, RangesTypesAndChoices) {
  const char* where = "config.json:streams.image.";
  for (const char* text :
       {R"({"width": 0})", R"({"width": 101})", R"({"width": "8"})", R"({"width": 2.5})",
        R"({"rate": 1.01})", R"({"rate": -1e-9})", R"({"rate": [1]})", R"({"bias": 1})",
        R"({"kind": "c"})", R"({"kind": 1})", R"({"sizes": [1, -1]})", R"({"sizes": 1})",
        R"({"names": ["x", "z"]})", R"({"scales": ["a"]})", R"({"width": 1e30})"}) {
    expect_error(ErrorCode::kInvalidArgument, where, [&] { read(text); });
  }
  expect_error(ErrorCode::kInvalidArgument, "width: expected a value from 1 to 100, got 0",
               [] { read(R"({"width": 0})"); });
  expect_error(ErrorCode::kInvalidArgument, "kind: expected one of: a, b; got \"c\"",
               [] { read(R"({"kind": "c"})"); });
  expect_error(ErrorCode::kInvalidArgument, "expected an object", [] { read("[1]"); });
}

TEST(ConfigTest, RelationsAreValidated) {
  expect_error(ErrorCode::kInvalidArgument, "even width", [] { read(R"({"width": 3})"); });
}

TEST(ConfigTest, LongValuesAreCutInMessages) {
  std::string text = "{\"width\": \"" + std::string(10'000, 'x') + "\"}";
  try {
    read(text.c_str());
    FAIL();
  } catch (const Error& e) {
    EXPECT_LT(std::string(e.what()).size(), 300u);
  }
}

TEST(ConfigTest, SchemaListsEveryField) {
  Json schema = config_schema<Example>();
  ASSERT_EQ(schema.size(), 8u);
  EXPECT_EQ(
      schema.at(0).dump(),
      R"({"name":"width","type":"integer","default":8,"help":"Width of it","min":1.0,"max":100.0})");
  EXPECT_EQ(schema.at(3).at("one_of").as_strings(), (std::vector<std::string>{"a", "b"}));
  EXPECT_FALSE(schema.at(4).contains("max"));
}

}  // namespace
}  // namespace plait
