#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "plait/data/decode.h"
#include "plait/data/series/series_processor.h"
#include "plait/data/table/csv.h"
#include "plait/data/table/table_processor.h"
#include "tests/data/media_files.h"

namespace plait::data {
namespace {

using Rows = std::vector<std::vector<std::string>>;

TEST(Csv, FollowsRfc4180) {
  Csv csv = parse_csv(
      "\xEF\xBB\xBF"
      "a,\"b,\"\"c\"\"\",d\r\n1,\"two\nlines\",\r\n\r\n\"\",x y,\"3\"",
      "t");
  EXPECT_EQ(csv.columns, (std::vector<std::string>{"a", "b,\"c\"", "d"}));
  EXPECT_EQ(csv.rows, (Rows{{"1", "two\nlines", ""}, {"", "x y", "3"}}));
  EXPECT_EQ(parse_csv("a\n\nb\n", "t").rows, (Rows{{""}, {"b"}}));
  EXPECT_EQ(csv_object(csv, 0).dump(), R"({"a":1.0,"b,\"c\"":"two\nlines","d":null})");
  EXPECT_EQ(parse_csv("a;b\n1;2", "t", {.delimiter = ';'}).rows, (Rows{{"1", "2"}}));
}

TEST(Csv, ErrorsGiveLineAndColumn) {
  auto message = [](const char* text) {
    return std::string(error_of([&] { parse_csv(text, "t.csv"); }).what());
  };
  EXPECT_NE(message("a,b\n1,2\n1,x\"y\n").find("t.csv, line 3, column 4"), std::string::npos);
  EXPECT_NE(message("a,b\n1\n").find("t.csv, line 2: expected 2 fields, got 1"), std::string::npos);
  EXPECT_NE(message("a,b\n\"1,2\n").find("closing quote"), std::string::npos);
  EXPECT_NE(message("a,b\n\"1\"2,3\n").find("line 2, column 4"), std::string::npos);
  EXPECT_NE(message("a,b\r1,2\n").find("line feed"), std::string::npos);
  EXPECT_NE(message("").find("header"), std::string::npos);
  EXPECT_NE(message("a,a\n1,2\n").find("twice"), std::string::npos);
  EXPECT_THROW(parse_csv(std::string_view("a\n\0\n", 4), "t"), Error);
  EXPECT_EQ(error_of([] { parse_csv("a,b\n1,2\n3,4\n", "t", {.max_cells = 3}); }).code(),
            ErrorCode::kResourceLimit);
  EXPECT_EQ(error_of([] { parse_csv("a,b,c\n", "t", {.max_columns = 2}); }).code(),
            ErrorCode::kResourceLimit);
}

TEST(Csv, NumbersAreWholeFields) {
  double v = 0;
  EXPECT_TRUE(parse_number("-1.5e3", v));
  EXPECT_EQ(v, -1500);
  EXPECT_TRUE(parse_number("+2", v));
  for (const char* text :
       {"", "+", "1 ", " 1", "1,5", "inf", "nan", "0x10", "1e999", "--1", "+-1x"}) {
    EXPECT_FALSE(parse_number(text, v)) << text;
  }
}

TEST(JsonLinesReader, ReadsObjects) {
  JsonLinesReader reader("{\"a\": 1}\n\n  {\"a\": 2}", "t.jsonl");
  Json value;
  ASSERT_TRUE(reader.next(value));
  ASSERT_TRUE(reader.next(value));
  EXPECT_EQ(value.at("a").as_int(), 2);
  EXPECT_EQ(reader.line(), 3);
  EXPECT_FALSE(reader.next(value));
  JsonLinesReader bad("{}\n[1]\n", "t.jsonl");
  ASSERT_TRUE(bad.next(value));
  EXPECT_NE(std::string(error_of([&] { bad.next(value); }).what()).find("t.jsonl, line 2"),
            std::string::npos);
}

TEST(Series, ReadsCsvJsonAndTensors) {
  at::Tensor want = at::tensor({1.0f, 2.0f, NAN, 4.0f}).reshape({2, 2});
  std::vector<Value> values = {Bytes{"x,y\n1,2\n,4\n"}, Bytes{"1,2\nNA,4"},
                               Bytes{"[[1, 2], [null, 4]]"}, want,
                               Json::parse("[[1, 2], [null, 4]]")};
  for (const Value& value : values)
    EXPECT_TRUE(at::allclose(decode_series_value(value, "s"), want, 0, 0, true));
  EXPECT_EQ(decode_series_value(at::zeros({5}), "s").sizes(), at::IntArrayRef({5, 1}));
  for (const Value& bad : {Value(Bytes{"a,b\n1,x\n"}), Value(Bytes{""}), Value(Bytes{"a,b\n"}),
                           Value(at::full({2}, INFINITY)), Value(Bytes{"[[1],[1,2]]"}),
                           Value(Bytes{"1e300"}), Value(Path{"/no/such.csv"})}) {
    Error e = error_of([&] { decode(bad, Modality::kSeries, "vibration"); });
    EXPECT_NE(std::string(e.what()).find("vibration"), std::string::npos) << e.what();
  }
}

TEST(Series, NormalisesPadsAndMasks) {
  auto processor = make_processor(
      Json::parse(
          R"({"type": "series", "channels": 2, "mean": [1, 0], "std": [2, 4], "max_length": 3})"),
      ".", "t");
  Value a = at::tensor({3.0f, 8.0f}).reshape({1, 2});
  Value b = at::tensor({1.0f, NAN, 1.0f, 0.0f, 5.0f, 0.0f, 7.0f, 0.0f}).reshape({4, 2});
  TensorMap out = processor->process({&a, nullptr, &b}, "s");
  EXPECT_EQ(out.at("values").sizes(), at::IntArrayRef({3, 3, 2}));
  EXPECT_TRUE(at::equal(out.at("attention_mask"),
                        at::tensor({1, 0, 0, 0, 0, 0, 1, 1, 1}, at::kLong).reshape({3, 3})));
  EXPECT_TRUE(at::equal(out.at("values")[0][0], at::tensor({1.0f, 2.0f})));
  EXPECT_TRUE(std::isnan(out.at("values")[2][0][1].item<float>()));
  Value narrow = at::zeros({4, 1});
  EXPECT_THROW(processor->process({&narrow}, "s"), Error);
}

TEST(Table, FitsAndEncodes) {
  std::vector<Json> rows = {Json::parse(R"({"age": 10, "city": "Bonn"})"),
                            Json::parse(R"({"age": 30, "city": "Aix"})"),
                            Json::parse(R"({"age": null, "city": "Bonn", "empty": null})")};
  TableProcessorConfig config = TableProcessor::fit(rows);
  EXPECT_EQ(config.numeric, std::vector<std::string>{"age"});
  EXPECT_EQ(config.mean, std::vector<double>{20});
  EXPECT_EQ(config.std, std::vector<double>{10});
  TableProcessor processor(config);
  Value a = rows[0], b = rows[2], c = Bytes{"age,city\n40,Rome\n"};
  TensorMap out = processor.process({&a, &b, nullptr, &c}, "t");
  EXPECT_TRUE(at::equal(out.at("numeric"), at::tensor({-1.0f, 0.0f, 0.0f, 2.0f}).unsqueeze(1)));
  EXPECT_TRUE(
      at::equal(out.at("numeric_mask"), at::tensor({1, 0, 0, 1}).to(at::kBool).unsqueeze(1)));
  EXPECT_TRUE(at::equal(out.at("categorical"), at::tensor({2, 2, 0, 0}, at::kLong).unsqueeze(1)));
  EXPECT_TRUE(
      at::equal(out.at("categorical_mask"), at::tensor({1, 1, 0, 1}).to(at::kBool).unsqueeze(1)));
  auto again = make_processor(processor.config(), ".", "t")->process({&a}, "t");
  EXPECT_TRUE(at::equal(again.at("categorical"), out.at("categorical").slice(0, 0, 1)));
  for (const Value& bad :
       {Value(Json::parse(R"({"age": "old"})")), Value(Json::parse(R"({"age": [1]})")),
        Value(Json(1)), Value(Bytes{"age\n1\n2\n"}), Value(at::zeros({3}))}) {
    Error e = error_of([&] { processor.process({&bad}, "vitals"); });
    EXPECT_NE(std::string(e.what()).find("vitals"), std::string::npos) << e.what();
  }
}

TEST(Text, IsCheckedUtf8) {
  EXPECT_EQ(decode_text_value(Bytes{"\xEF\xBB\xBFh\xC3\xA9 \xF0\x9F\x98\x80"}, "t"),
            "h\xC3\xA9 \xF0\x9F\x98\x80");
  for (std::string bad : {"\xC3", "\xC0\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\x80",
                          "\xE0\x80\x80", "\xF8\x88\x80\x80\x80"}) {
    EXPECT_EQ(error_of([&] { decode_text_value(bad, "t"); }).code(), ErrorCode::kCorruptData);
  }
}

}  // namespace
}  // namespace plait::data
