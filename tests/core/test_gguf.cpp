#include "plait/core/weights/gguf.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "plait/core/file.h"
#include "plait/core/weights/safetensors.h"
#include "tests/core/expect_error.h"
#include "tests/core/stored_zip.h"

namespace plait {
namespace {

using tests::append;
using tests::expect_error;

const std::string kFolder = std::string(PLAIT_SOURCE_DIR) + "/tests/golden/weights/";

std::string text(const std::string& s) {
  std::string out;
  append(out, s.size(), 8);
  return out + s;
}

std::string number(uint64_t value, int bytes) {
  std::string out;
  append(out, value, bytes);
  return out;
}

/// A metadata entry; `value` is already in bytes.
std::string entry(const std::string& key, uint32_t type, const std::string& value) {
  return text(key) + number(type, 4) + value;
}

/// `extents` in the file's order, innermost first.
std::string tensor(const std::string& name, const std::vector<uint64_t>& extents, uint32_t type,
                   uint64_t offset) {
  std::string out = text(name) + number(extents.size(), 4);
  for (uint64_t extent : extents) append(out, extent, 8);
  append(out, type, 4);
  append(out, offset, 8);
  return out;
}

struct Parts {
  uint32_t version = 3;
  std::vector<std::string> entries = {}, tensors = {};
  std::string data = {};
  uint64_t more_entries = 0, more_tensors = 0;  ///< Claimed beyond what is there.
};

std::string file_of(const Parts& parts, size_t alignment = 32) {
  std::string out = "GGUF" + number(parts.version, 4) +
                    number(parts.tensors.size() + parts.more_tensors, 8) +
                    number(parts.entries.size() + parts.more_entries, 8);
  for (const std::string& e : parts.entries) out += e;
  for (const std::string& t : parts.tensors) out += t;
  out.append((alignment - out.size() % alignment) % alignment, '\0');
  return out + parts.data;
}

GgufFile parse(const std::string& bytes) {
  return GgufFile::parse(std::make_shared<const std::string>(bytes), "model.gguf");
}

void expect_refused(const std::string& bytes, const std::string& part) {
  expect_error(ErrorCode::kCorruptData, part, [&] { parse(bytes); });
  expect_error(ErrorCode::kCorruptData, "model.gguf", [&] { parse(bytes); });
}

// --- what the gguf package wrote (tools/golden/weights_gguf.py) ---

TEST(GgufTest, DequantisesEveryTypeAsTheReference) {
  GgufFile file = GgufFile::open(kFolder + "gguf_types.gguf");
  TensorMap expected = load_safetensors(kFolder + "gguf_types.safetensors");
  TensorMap actual = file.load_all();
  ASSERT_EQ(file.tensors().size(), 16u);
  ASSERT_EQ(actual.size(), expected.size());
  for (const auto& [name, value] : expected) {
    const at::Tensor& got = actual.at(name);
    EXPECT_EQ(got.scalar_type(), value.scalar_type()) << name;
    EXPECT_EQ(got.sizes(), value.sizes()) << name;
    // The last bit may differ where the compiler fuses the multiplication and the addition.
    EXPECT_TRUE(at::allclose(got, value, 1e-6, 1e-7)) << name;
    EXPECT_EQ(layout_of(file.find(name)->type).name, name);
  }
}

TEST(GgufTest, ReadsEveryKindOfMetadata) {
  const GgufFile file = GgufFile::open(kFolder + "gguf_types.gguf");
  EXPECT_EQ(file.version(), 3u);
  const Json& m = file.metadata();
  EXPECT_EQ(m.at("general.architecture").as_string(), "test");
  EXPECT_EQ(m.at("uint8").as_int(), 255);
  EXPECT_EQ(m.at("int8").as_int(), -128);
  EXPECT_EQ(m.at("uint16").as_int(), 65535);
  EXPECT_EQ(m.at("int16").as_int(), -32768);
  EXPECT_EQ(m.at("uint32").as_int(), 4294967295);
  EXPECT_EQ(m.at("int32").as_int(), -2147483648);
  EXPECT_EQ(m.at("uint64").as_int(), INT64_MAX);
  EXPECT_EQ(m.at("uint64_wide").as_double(), 18446744073709551615.0);
  EXPECT_EQ(m.at("int64").as_int(), INT64_MIN);
  EXPECT_EQ(m.at("float32").as_double(), static_cast<double>(0.1f));
  EXPECT_EQ(m.at("float64").as_double(), 0.1);
  EXPECT_TRUE(m.at("yes").as_bool());
  EXPECT_FALSE(m.at("no").as_bool());
  EXPECT_EQ(m.at("text").as_string(), "Grüße, 世界");
  EXPECT_EQ(m.at("ints").as_ints(), (std::vector<int64_t>{1, -2, 3}));
  EXPECT_EQ(m.at("floats").as_doubles(), (std::vector<double>{0.5, -0.25}));
  EXPECT_EQ(m.at("texts").as_strings(), (std::vector<std::string>{"a", "", "世"}));
  EXPECT_EQ(m.at("nested").dump(), "[[1,2],[3]]");
}

TEST(GgufTest, GivesBlocksAsTheyAre) {
  GgufFile file = GgufFile::open(kFolder + "gguf_types.gguf");
  at::Tensor blocks = file.blocks("Q4_K");
  EXPECT_EQ(blocks.sizes(), (std::vector<int64_t>{2, 2 * 144}));
  at::Tensor row = at::empty({512}, at::kFloat);
  dequantize(GgmlType::kQ4_K, blocks[1].const_data_ptr<uint8_t>(), 2, row.data_ptr<float>());
  EXPECT_TRUE(at::equal(row, file.load("Q4_K")[1]));
  EXPECT_EQ(file.blocks("F16").sizes(), (std::vector<int64_t>{2, 3, 10}));
}

TEST(GgufTest, TensorsOutliveTheFile) {
  tests::TemporaryFolder folder;
  at::Tensor ones = at::ones({8});
  std::string data(static_cast<const char*>(ones.const_data_ptr()), ones.nbytes());
  write_file_atomic(folder / "m.gguf",
                    file_of({.tensors = {tensor("w", {8}, 0, 0)}, .data = data}));
  at::Tensor w = GgufFile::open(folder / "m.gguf").load("w");
  at::Tensor raw = GgufFile::open(folder / "m.gguf").blocks("w");
  std::filesystem::remove(folder / "m.gguf");
  EXPECT_TRUE(at::equal(w, ones));
  EXPECT_EQ(raw.numel(), 32);
}

TEST(GgufTest, ReversesDimensionsAndHonoursTheAlignment) {
  Parts parts{.version = 2,
              .entries = {entry("general.alignment", 4, number(64, 4))},
              .tensors = {tensor("b", {3, 2}, 24, 64), tensor("a", {1}, 24, 0),
                          tensor("none", {4, 0}, 0, 0), tensor("scalar", {}, 24, 128)},
              .data = std::string(64, '\7') + std::string("\1\2\3\4\5\6", 6) +
                      std::string(58, '\0') + "\x2a"};
  GgufFile file = parse(file_of(parts, 64));
  EXPECT_TRUE(at::equal(file.load("b"), at::arange(1, 7).reshape({2, 3}).to(at::kChar)));
  EXPECT_EQ(file.load("a").item<int>(), 7);
  EXPECT_EQ(file.load("none").sizes(), (std::vector<int64_t>{0, 4}));
  EXPECT_EQ(file.load("scalar").item<int>(), 42);
  EXPECT_EQ(file.load("scalar").dim(), 0);
  EXPECT_EQ(file.tensors()[0].name, "b");
  EXPECT_EQ(file.find("c"), nullptr);
  expect_error(ErrorCode::kNotFound, "no tensor \"c\"", [&] { file.load("c"); });
}

TEST(GgufTest, ListsTypesThatItCannotDequantise) {
  GgufFile file =
      parse(file_of({.tensors = {tensor("w", {256}, 10, 0)}, .data = std::string(84, '\1')}));
  EXPECT_EQ(layout_of(file.tensors()[0].type).name, "Q2_K");
  EXPECT_EQ(file.blocks("w").numel(), 84);
  expect_error(ErrorCode::kUnavailable, "got Q2_K", [&] { file.load("w"); });
}

// --- hostile files ---

TEST(GgufTest, EveryTruncationIsRefused) {
  std::string bytes = file_of({.entries = {entry("a", 9, number(8, 4) + number(1, 8) + text("x")),
                                           entry("b", 6, number(0, 4))},
                               .tensors = {tensor("w", {2}, 0, 0)},
                               .data = std::string(8, '\0')});
  EXPECT_EQ(parse(bytes).tensors().size(), 1u);
  for (size_t n = 0; n < bytes.size(); ++n) expect_refused(bytes.substr(0, n), "expected");
}

TEST(GgufTest, RefusesHostileHeaders) {
  constexpr uint64_t kHuge = uint64_t{1} << 60;
  expect_refused("ggml" + std::string(40, '\0'), "letters GGUF");
  expect_refused(file_of({.version = 1}), "version 2 or 3, got 1");
  expect_refused(file_of({.version = 0x03000000}), "big-endian");
  expect_refused(file_of({.more_tensors = kHuge}), "at most a million tensors");
  expect_refused(file_of({.more_tensors = 900'000}), "name of a tensor");
  expect_refused(file_of({.more_entries = kHuge}), "at most 65536 metadata keys");
  expect_refused(file_of({.entries = {number(kHuge, 8) + "key"}}), "got the end of the file");
  expect_refused(file_of({.entries = {entry("", 0, "1")}}), "1 to 65535 bytes");
  expect_refused(file_of({.entries = {entry("k", 13, "1")}}), "a known type, got number 13");
  expect_refused(file_of({.entries = {entry("k", 7, "\2")}}), "0 or 1 as boolean, got 2");
  expect_refused(file_of({.entries = {entry("k", 0, "1"), entry("k", 0, "1")}}), "appears twice");
  expect_refused(file_of({.entries = {entry("k", 9, number(0, 4) + number(kHuge, 8))}}),
                 "an array that fits the file");
  expect_refused(file_of({.entries = {entry("k", 9, number(99, 4) + number(1, 8))}}),
                 "a known type, got number 99");
  std::string deep;
  for (int i = 0; i < 50; ++i) deep += number(9, 4) + number(1, 8);
  expect_refused(file_of({.entries = {entry("k", 9, deep)}}), "8 arrays inside each other");
}

TEST(GgufTest, RefusesMoreMetadataThanMemoryShouldHold) {
  std::string many(8'000'001, '\0');
  expect_error(ErrorCode::kResourceLimit, "eight million", [&] {
    parse(file_of({.entries = {entry("k", 9, number(0, 4) + number(many.size(), 8) + many)}}));
  });
}

TEST(GgufTest, RefusesHostileTensors) {
  constexpr uint64_t kHuge = uint64_t{1} << 60;
  auto one = [](const std::string& t, const std::string& data = std::string(64, '\0')) {
    return file_of({.tensors = {t}, .data = data});
  };
  expect_refused(one(tensor("w", {kHuge}, 0, 0)), "extents below 2^48");
  expect_refused(one(tensor("w", {1ull << 48, 1ull << 48}, 0, 0)), "an impossible one");
  expect_refused(one(tensor("w", {0, 1ull << 48, 1ull << 48}, 0, 0)), "an impossible one");
  expect_refused(one(tensor("w", {17}, 0, 0)), "inside the file");
  expect_refused(one(tensor("w", std::vector<uint64_t>(9, 1), 0, 0)), "8 dimensions, got 9");
  expect_refused(one(tensor("w", {31}, 2, 0)), "whole blocks of 32, got 31");
  expect_refused(one(tensor("w", {128}, 12, 0)), "whole blocks of 256");
  expect_refused(one(tensor("w", {1}, 4, 0)), "a type known here, got number 4");
  expect_refused(one(tensor("w", {1}, 0, 8)), "multiple of 32, got 8");
  expect_refused(one(tensor("w", {1}, 0, kHuge)), "inside the file");
  expect_refused(one(tensor("w", {1}, 0, ~uint64_t{31})), "inside the file");
  expect_refused(one(tensor("", {1}, 0, 0)), "1 to 65535 bytes");
  std::string data(64, '\0');
  expect_refused(
      file_of({.tensors = {tensor("w", {1}, 0, 0), tensor("w", {1}, 0, 32)}, .data = data}),
      "appears twice");
  expect_refused(
      file_of({.tensors = {tensor("v", {4}, 0, 32), tensor("w", {9}, 0, 0)}, .data = data}),
      "\"w\" and \"v\" overlap");
  for (uint64_t alignment : {0, 4, 12, 1 << 30}) {
    expect_refused(file_of({.entries = {entry("general.alignment", 4, number(alignment, 4))}}),
                   "general.alignment");
  }
}

}  // namespace
}  // namespace plait
