#include "plait/core/weights/tfjs.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "plait/core/file.h"
#include "plait/core/weights/safetensors.h"
#include "tests/core/expect_error.h"

namespace plait {
namespace {

using tests::expect_error;

const std::string kFolder = std::string(PLAIT_SOURCE_DIR) + "/tests/golden/weights/tfjs/";

TfjsFile parse(const std::string& json, const std::string& shard = "") {
  auto bytes = std::make_shared<const std::string>(shard);
  return TfjsFile::parse(json, "model.json", [bytes](const std::string&) -> TfjsFile::Shard {
    return {{reinterpret_cast<const uint8_t*>(bytes->data()), bytes->size()}, bytes};
  });
}

/// A manifest of one group with one shard.
std::string manifest(const std::string& weights, const std::string& paths = R"("w.bin")") {
  return R"([{"paths":[)" + paths + R"(],"weights":[)" + weights + "]}]";
}
std::string weight(const std::string& shape, const std::string& more = "",
                   const std::string& dtype = "float32") {
  return R"({"name":"w","shape":)" + shape + R"(,"dtype":")" + dtype + "\"" + more + "}";
}

void expect_refused(const std::string& json, const std::string& part,
                    const std::string& shard = "12345678") {
  expect_error(ErrorCode::kCorruptData, part, [&] { parse(json, shard); });
  expect_error(ErrorCode::kCorruptData, "model.json", [&] { parse(json, shard); });
}

// What TensorFlow.js wrote and read (tools/golden/weights_tfjs.cjs).
TEST(TfjsTest, DecodesAsTheReference) {
  TfjsFile file = TfjsFile::open(kFolder + "model.json");
  TensorMap expected = load_safetensors(kFolder + "tfjs.safetensors");
  TensorMap actual = file.load_all();
  ASSERT_EQ(actual.size(), 10u);
  ASSERT_EQ(expected.size(), 10u);
  for (const auto& [name, value] : expected) {
    const at::Tensor& got = actual.at(name);
    EXPECT_EQ(got.sizes(), value.sizes()) << name;
    EXPECT_TRUE(at::equal(got.to(value.scalar_type()), value)) << name;
  }
  EXPECT_EQ(actual.at("odd").scalar_type(), at::kBool);
  EXPECT_EQ(actual.at("int_bytes").scalar_type(), at::kInt);
  ASSERT_EQ(file.tensors().size(), 11u);
  const TfjsTensor& text = *file.find("text");
  EXPECT_EQ(text.bytes, 11u);
  EXPECT_FALSE(TfjsFile::can_load(text));
  expect_error(ErrorCode::kUnavailable, "got string", [&] { file.load("text"); });
  expect_error(ErrorCode::kNotFound, "no tensor \"x\"", [&] { file.load("x"); });
  EXPECT_EQ(file.find("bytes")->quantisation, "uint8");
  EXPECT_EQ(file.model().at("format").as_string(), "graph-model");
  EXPECT_FALSE(file.model().contains("weightsManifest"));
}

TEST(TfjsTest, ReadsABareManifest) {
  TfjsFile file = parse(manifest(weight("[2]")), std::string(8, '\0'));
  EXPECT_TRUE(file.model().is_null());
  EXPECT_TRUE(at::equal(file.load("w"), at::zeros({2})));
}

TEST(TfjsTest, EveryTruncationIsRefused) {
  std::string json =
      manifest(weight("[2]", R"(,"quantization":{"dtype":"uint8","scale":1,"min":0})"));
  EXPECT_EQ(parse(json, "12").tensors().size(), 1u);
  for (size_t n = 0; n < json.size(); ++n) expect_refused(json.substr(0, n), "expected", "12");
}

TEST(TfjsTest, RefusesHostileManifests) {
  expect_refused("{}", "a weight manifest");
  expect_refused("3", "a weight manifest");
  expect_refused("[3]", "\"paths\" of the usual kind");
  expect_refused(R"([{"paths":[3],"weights":[]}])", "texts as paths");
  expect_refused(manifest("", R"("a","b","a")"), "shard \"a\" appears twice");
  expect_refused(manifest("3"), "\"name\" of the usual kind");
  expect_refused(manifest(weight("[3]")), "expected 12 bytes, got only 8");
  expect_refused(manifest(weight("[1]")), "expected 4 bytes in the shards, got 8");
  expect_refused(manifest(weight("[1]") + "," + weight("[1]")), "appears twice");
  expect_refused(manifest(weight("[288230376151711744]")), "got only 8");
  expect_refused(manifest(weight("[4611686018427387904]")), "an impossible one");
  expect_refused(manifest(weight("[0,4294967296,4294967296]")), "an impossible one");
  expect_refused(manifest(weight("[-1]")), "an impossible one");
  expect_refused(manifest(weight("[1.5]")), "an impossible one");
  expect_refused(manifest(weight("[[1]]")), "an impossible one");
  expect_refused(manifest(weight("[288230376151711744]", "", "string")), "the end of the shards");
  expect_refused(manifest(weight("[1]", "", "string")), "the end of the shards");
  expect_refused(manifest(weight("[2]", "", "float64")), "a known dtype, got \"float64\"");
  std::string many = "1";
  for (int i = 0; i < 64; ++i) many += ",1";
  expect_refused(manifest(weight("[" + many + "]")), "64 dimensions, got 65");
  auto quantised = [](const std::string& how, const std::string& dtype = "float32") {
    return manifest(weight("[8]", R"(,"quantization":)" + how, dtype));
  };
  expect_refused(quantised("3"), "\"dtype\" of the usual kind");
  expect_refused(quantised(R"({"dtype":"uint4","scale":1,"min":0})"), "float32 as \"uint4\"");
  expect_refused(quantised(R"({"dtype":"uint8","scale":1,"min":0})", "bool"), "bool as \"uint8\"");
  expect_refused(quantised(R"({"dtype":"float16"})", "int32"), "int32 as \"float16\"");
  expect_refused(quantised(R"({"dtype":"uint8","scale":1})"), "\"min\" of the usual kind");
}

TEST(TfjsTest, RefusesShardsElsewhere) {
  tests::TemporaryFolder folder;
  for (const char* place : {"", "/etc/hostname", "../w.bin", "a/../../w.bin"}) {
    write_file_atomic(folder / "m.json", manifest(weight("[2]"), std::string("\"") + place + "\""));
    expect_error(ErrorCode::kCorruptData, "shards beside the file",
                 [&] { TfjsFile::open(folder / "m.json"); });
  }
  write_file_atomic(folder / "m.json", manifest(weight("[2]")));
  expect_error(ErrorCode::kNotFound, "w.bin, got no such file",
               [&] { TfjsFile::open(folder / "m.json"); });
  write_file_atomic(folder / "w.bin", std::string(8, '\0'));
  at::Tensor w = TfjsFile::open(folder / "m.json").load("w");
  std::filesystem::remove(folder / "w.bin");
  EXPECT_TRUE(at::equal(w, at::zeros({2})));
}

}  // namespace
}  // namespace plait
