#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "plait/data/augment/augment.h"
#include "plait/data/decode.h"
#include "plait/data/processor.h"
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

TEST(Vector, TakesTensorsOfItsWidth) {
  const float nan = std::nanf("");
  auto processor = make_processor(Json::object({{"type", "vector"}, {"features", 3}}), ".", "t");
  EXPECT_EQ(processor->modality(), Modality::kTable);
  Value a = at::tensor({1.f, nan, -3.f}), b = at::tensor({4, 5, 6}, at::kLong);
  at::Tensor values = processor->process({&a, nullptr, &b}, "t").at("values");
  EXPECT_TRUE(at::equal(at::nan_to_num(values, 99),
                        at::tensor({1.f, 99.f, -3.f, 0.f, 0.f, 0.f, 4.f, 5.f, 6.f}).view({3, 3})));
  auto again = make_processor(processor->config(), ".", "t");
  EXPECT_TRUE(at::equal(again->process({&b}, "t").at("values"), values.slice(0, 2)));
  for (const Value& bad :
       {Value(at::zeros({2})), Value(at::zeros({1, 3})), Value(at::tensor({1.f, 2.f, HUGE_VALF})),
        Value(Json::object({{"a", 1}, {"b", 2}, {"c", 3}})), Value(at::Tensor())}) {
    Error e = error_of([&] { processor->process({&a, &bad}, "zernike"); });
    EXPECT_NE(std::string(e.what()).find("zernike of item 1"), std::string::npos) << e.what();
  }
  EXPECT_THROW(make_processor(Json::object({{"type", "vector"}, {"features", 0}}), ".", "t"),
               Error);
}

at::Tensor damaged_row(const at::Tensor& row, const char* kind, double severity, uint64_t seed) {
  return std::get<at::Tensor>(damage(row, Modality::kTable, kind, severity, seed));
}

TEST(Vector, TakesJsonListsOfNumbers) {
  auto read = [](const char* text) {
    return std::get<at::Tensor>(decode_table_value(Bytes{text}, "t"));
  };
  EXPECT_TRUE(read(" [1, -2.5, 3e2]\n").equal(at::tensor({1.0f, -2.5f, 300.0f})));
  EXPECT_TRUE(std::isnan(read("[1, null]")[1].item<double>()));
  EXPECT_TRUE(
      std::get<at::Tensor>(decode_table_value(Json::parse("[4]"), "t")).equal(at::tensor({4.0f})));
  for (const char* bad : {"[1, \"two\"]", "[[1, 2]]", "[1, true]", "[1, 2"})
    EXPECT_THROW(decode_table_value(Bytes{bad}, "t"), Error) << bad;
}

TEST(TableDamage, NoiseFollowsTheSpreadOfTheRow) {
  at::Tensor row = at::arange(2000, at::kFloat) * 3 + 500;
  double spread = row.std().item<double>();
  for (double severity : {0.1, 0.5, 1.0}) {
    at::Tensor noise = damaged_row(row, "noise", severity, 4) - row;
    EXPECT_NEAR(noise.std().item<double>(), 2 * severity * spread, 0.2 * severity * spread);
    EXPECT_NEAR(noise.mean().item<double>(), 0, 0.2 * severity * spread);
  }
  at::Tensor weak = damaged_row(row, "noise", 0.2, 4) - row;
  EXPECT_TRUE(at::allclose(weak * 5, damaged_row(row, "noise", 1, 4) - row, 1e-3, 0.1));
  EXPECT_TRUE(damaged_row(row, "noise", 0.2, 4).equal(damaged_row(row, "noise", 0.2, 4)));
  EXPECT_FALSE(damaged_row(row, "noise", 0.2, 4).equal(damaged_row(row, "noise", 0.2, 5)));
  // Missing stays missing; a row of one value has a spread all the same; nothing becomes infinite.
  at::Tensor gaps = at::tensor({1.f, std::nanf(""), 3.f});
  EXPECT_TRUE(at::isnan(damaged_row(gaps, "noise", 1, 1)).equal(at::isnan(gaps)));
  EXPECT_FALSE(damaged_row(at::ones({5}), "noise", 1, 1).equal(at::ones({5})));
  at::Tensor most = at::full({9}, 3e38f);
  EXPECT_TRUE(at::isfinite(damaged_row(most, "noise", 1, 1)).all().item<bool>());
}

TEST(TableDamage, DropoutLosesFieldsAndNothingElse) {
  at::Tensor row = at::arange(2000, at::kFloat);
  at::Tensor before = at::zeros({2000}, at::kBool);
  for (double severity : {0.2, 0.6, 1.0}) {
    at::Tensor out = damaged_row(row, "dropout", severity, 9);
    at::Tensor lost = at::isnan(out);
    EXPECT_NEAR(lost.to(at::kFloat).mean().item<double>(), 0.9 * severity, 0.04);
    EXPECT_TRUE(at::where(lost, row, out).equal(row));
    EXPECT_FALSE(at::logical_and(before, lost.logical_not()).any().item<bool>());
    before = lost;
  }
}

TEST(TableDamage, NamedFieldsToo) {
  Json row = Json::parse(R"({"age": 40, "city": "Rome", "weight": 70, "ill": null})");
  Json noisy = std::get<Json>(damage(row, Modality::kTable, "noise", 0.5, 1));
  EXPECT_NE(noisy.at("age").as_double(), 40);
  EXPECT_EQ(noisy.at("city").as_string(), "Rome");
  EXPECT_TRUE(noisy.at("ill").is_null());
  Json bare = std::get<Json>(damage(row, Modality::kTable, "dropout", 1, 3));
  EXPECT_EQ(bare.size(), 4u);
  int lost = 0;
  for (const auto& [name, field] : bare.members()) {
    lost += field.is_null();
    if (!field.is_null()) {
      EXPECT_EQ(field.dump(), row.at(name).dump());
    }
  }
  EXPECT_GE(lost, 2);
  EXPECT_EQ(std::get<Json>(damage(row, Modality::kTable, "noise", 0, 1)).dump(), row.dump());
  for (const Value& bad :
       {Value(std::string("x")), Value(at::zeros({2, 2})), Value(Json(1)), Value(at::Tensor())})
    EXPECT_THROW(damage(bad, Modality::kTable, "noise", 0.5, 1), Error);
  EXPECT_THROW(damage(row, Modality::kTable, "blur", 0.5, 1), Error);
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
