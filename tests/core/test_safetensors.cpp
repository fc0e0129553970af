#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "plait/core/weights/safetensors.h"
#include "tests/core/expect_error.h"
#include "tests/core/stored_zip.h"

namespace plait {
namespace {

using tests::expect_error;

std::string file(const std::string& header, size_t body) {
  std::string out;
  tests::append(out, header.size(), 8);
  return out + header + std::string(body, '\1');
}

SafetensorsFile parse(std::string bytes) {
  return SafetensorsFile::parse(std::make_shared<const std::string>(std::move(bytes)),
                                "x.safetensors");
}

std::string entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
         ",\"data_offsets\":" + offsets + "}";
}

void expect_refused(const std::string& bytes, const std::string& part) {
  expect_error(ErrorCode::kCorruptData, part, [&] { parse(bytes); });
  expect_error(ErrorCode::kCorruptData, "x.safetensors", [&] { parse(bytes); });
}

TEST(SafetensorsTest, RoundTripsEveryDtypeAndShape) {
  TensorMap tensors;
  int i = 0;
  for (auto type : {at::kFloat, at::kHalf, at::kBFloat16, at::kDouble, at::kLong, at::kInt,
                    at::kShort, at::kChar, at::kByte, at::kBool}) {
    tensors["t" + std::to_string(i++)] = at::arange(15).reshape({3, 5}).to(type);
  }
  tensors["scalar"] = at::scalar_tensor(2.5);
  tensors["empty"] = at::empty({0, 4});
  tensors["transposed"] = at::arange(6).reshape({2, 3}).t();
  auto read = parse(dump_safetensors(tensors, {{"format", "pt"}, {"note", "é\n"}}));
  EXPECT_EQ(read.metadata().at("note"), "é\n");
  ASSERT_EQ(read.names().size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    at::Tensor got = read.tensor(name);
    EXPECT_EQ(got.scalar_type(), tensor.scalar_type()) << name;
    EXPECT_EQ(got.sizes(), tensor.sizes()) << name;
    EXPECT_TRUE(at::equal(got, tensor)) << name;
  }
  EXPECT_TRUE(read.contains("scalar"));
  EXPECT_FALSE(read.contains("other"));
  expect_error(ErrorCode::kNotFound, "no tensor \"other\"", [&] { read.tensor("other"); });
}

TEST(SafetensorsTest, WritesAlignedTensors) {
  TensorMap tensors{{"a", at::ones({3}, at::kBool)},
                    {"b", at::ones({1}, at::kHalf)},
                    {"c", at::ones({2}, at::kDouble)}};
  std::string bytes = dump_safetensors(tensors);
  size_t header = static_cast<uint8_t>(bytes[0]) + 256u * static_cast<uint8_t>(bytes[1]);
  Json json = Json::parse(bytes.substr(8, header));
  EXPECT_EQ(header % 8, 0u);
  EXPECT_EQ(json.at("c").at("data_offsets").dump(), "[0,16]");
  EXPECT_EQ(json.at("b").at("data_offsets").dump(), "[16,18]");
  EXPECT_EQ(json.at("a").at("data_offsets").dump(), "[18,21]");
}

TEST(SafetensorsTest, MapsFilesAndTensorsOutliveTheFile) {
  tests::TemporaryFolder folder;
  save_safetensors(folder / "w.safetensors", {{"w", at::arange(1000)}});
  at::Tensor w = load_safetensors(folder / "w.safetensors").at("w");
  save_safetensors(folder / "w.safetensors", {{"w", at::zeros({1})}});
  EXPECT_TRUE(at::equal(w, at::arange(1000)));
  expect_error(ErrorCode::kNotFound, "none", [&] { load_safetensors(folder / "none"); });
}

TEST(SafetensorsTest, UnalignedTensorsAreCopied) {
  auto read = parse(file(
      "{" + entry("b", "BOOL", "[1]", "[0,1]") + "," + entry("f", "F32", "[2]", "[1,9]") + "}", 9));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(read.tensor("f").data_ptr()) % 4, 0u);
  EXPECT_FLOAT_EQ(read.tensor("f")[1].item<float>(), 2.3694278e-38f);
}

TEST(SafetensorsTest, RefusesHostileHeaders) {
  expect_refused("", "at least 8 bytes");
  expect_refused("1234567", "at least 8 bytes");
  expect_refused(std::string(8, '\xff'), "header inside the file");
  expect_refused(file("{}", 0).substr(0, 9), "header inside the file");
  expect_refused(file("[]", 0), "an object as header");
  expect_refused(file("{\"a\":1}", 0), "tensor \"a\": expected a member");
  expect_refused(file("{\"a\":{\"dtype\":\"F32\"}}", 0), "expected a member \"shape\"");
  expect_refused(file("{\"__metadata__\":{\"a\":1}}", 0), "expected a string");
  expect_refused(file("{" + entry("a", "F33", "[1]", "[0,4]") + "}", 4),
                 "tensor \"a\": expected a known dtype");
  expect_refused(
      file("{" + entry("a", "F32", "[1]", "[0,4]") + "," + entry("a", "F32", "[1]", "[4,8]") + "}",
           8),
      "appears twice");
  expect_refused(file("{" + std::string(1000, '['), 0), "syntax error");
}

TEST(SafetensorsTest, RefusesBadRanges) {
  expect_refused(file("{" + entry("a", "F32", "[2]", "[0,4]") + "}", 4), "expected 8 bytes, got 4");
  expect_refused(file("{" + entry("a", "F32", "[2]", "[0,8]") + "}", 7),
                 "data_offsets inside the file");
  expect_refused(file("{" + entry("a", "F32", "[1]", "[-4,0]") + "}", 4),
                 "data_offsets inside the file");
  expect_refused(file("{" + entry("a", "F32", "[1]", "[4,0]") + "}", 4),
                 "data_offsets inside the file");
  expect_refused(file("{" + entry("a", "F32", "[1]", "[0,4,8]") + "}", 8),
                 "data_offsets inside the file");
  expect_refused(
      file("{" + entry("a", "U8", "[4]", "[0,4]") + "," + entry("b", "U8", "[4]", "[3,7]") + "}",
           7),
      "overlap at byte 3");
  expect_refused(
      file("{" + entry("a", "U8", "[4]", "[0,4]") + "," + entry("b", "U8", "[4]", "[0,4]") + "}",
           4),
      "overlap");
  expect_refused(
      file("{" + entry("a", "U8", "[1]", "[0,1]") + "," + entry("b", "U8", "[1]", "[2,3]") + "}",
           3),
      "hole");
  expect_refused(file("{" + entry("a", "U8", "[1]", "[0,1]") + "}", 2),
                 "expected 1 bytes of tensors, got 2");
}

TEST(SafetensorsTest, RefusesImpossibleShapes) {
  expect_refused(file("{" + entry("a", "F32", "[-1]", "[0,4]") + "}", 4), "shape");
  expect_refused(file("{" + entry("a", "F32", "[4611686018427387904,4]", "[0,0]") + "}", 0),
                 "shape");
  expect_refused(file("{" + entry("a", "F64", "[4294967296,4294967296]", "[0,0]") + "}", 0),
                 "shape");
  expect_refused(
      file("{" + entry("a", "F32", "[0,4611686018427387904,4611686018427387904]", "[0,0]") + "}",
           0),
      "shape");
  expect_refused(file("{" + entry("a", "F32", "[1e30]", "[0,0]") + "}", 0), "expected an integer");
  std::string ones = "[1";
  for (int i = 0; i < 64; ++i) ones += ",1";
  expect_refused(file("{" + entry("a", "U8", ones + "]", "[0,1]") + "}", 1),
                 "at most 64 dimensions");
}

TEST(SafetensorsTest, RefusesTensorsThatItCannotWrite) {
  expect_error(ErrorCode::kInvalidArgument, "cannot store dtype", [] {
    dump_safetensors({{"a", at::zeros({1}, at::kComplexFloat)}});
  });
  expect_error(ErrorCode::kInvalidArgument, "\"a\", got none", [] {
    dump_safetensors({{"a", at::Tensor()}});
  });
  expect_error(ErrorCode::kInvalidArgument, "__metadata__", [] {
    dump_safetensors({{"__metadata__", at::zeros({1})}});
  });
}

}  // namespace
}  // namespace plait
