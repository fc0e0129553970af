#include "plait/core/weights/onnx.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "plait/core/file.h"
#include "plait/core/weights/safetensors.h"
#include "tests/core/expect_error.h"

namespace plait {
namespace {

using tests::expect_error;

const std::string kFolder = std::string(PLAIT_SOURCE_DIR) + "/tests/golden/weights/";

std::string varint(uint64_t value) {
  std::string out;
  for (; value > 127; value >>= 7) out += static_cast<char>((value & 127) | 128);
  return out + static_cast<char>(value);
}
/// Fields of a protocol buffer.
std::string number(int field, uint64_t value) { return varint(field * 8) + varint(value); }
std::string bytes(int field, const std::string& value) {
  return varint(field * 8 + 2) + varint(value.size()) + value;
}

/// A TensorProto; `values` are more fields.
std::string tensor(const std::string& name, const std::vector<uint64_t>& dims, int type,
                   const std::string& values) {
  std::string out;
  for (uint64_t extent : dims) out += number(1, extent);
  return out + number(2, static_cast<uint64_t>(type)) + bytes(8, name) + values;
}
std::string raw(const std::string& value) { return bytes(9, value); }
std::string external(const std::string& location, const std::string& offset = "",
                     const std::string& length = "") {
  auto entry = [](const std::string& key, const std::string& value) {
    return bytes(13, bytes(1, key) + bytes(2, value));
  };
  std::string out = number(14, 1) + entry("location", location);
  if (!offset.empty()) out += entry("offset", offset);
  if (!length.empty()) out += entry("length", length);
  return out;
}

std::string model(const std::vector<std::string>& tensors, const std::string& nodes = "") {
  std::string graph = nodes;
  for (const std::string& t : tensors) graph += bytes(5, t);
  return number(1, 8) + bytes(7, graph);
}

OnnxModel parse(const std::string& text, const OnnxOptions& options = {}) {
  return parse_onnx({reinterpret_cast<const uint8_t*>(text.data()), text.size()}, "m.onnx",
                    options);
}

void expect_refused(const std::string& text, const std::string& part) {
  expect_error(ErrorCode::kCorruptData, part, [&] { parse(text); });
  expect_error(ErrorCode::kCorruptData, "m.onnx", [&] { parse(text); });
}

/// safetensors has no unsigned integers and no floats of 8 bits, so the files hold wider ones.
void expect_equal(const TensorMap& actual, const TensorMap& expected) {
  for (const auto& [name, value] : expected) {
    ASSERT_EQ(actual.count(name), 1u) << name;
    at::Tensor got = actual.at(name);
    EXPECT_EQ(got.sizes(), value.sizes()) << name;
    EXPECT_TRUE(at::equal(got.to(value.scalar_type()), value)) << name << "\n" << got;
  }
}

// --- what the onnx package wrote (tools/golden/weights_onnx.py) ---

TEST(OnnxTest, ReadsEveryDtypeAndEveryConstant) {
  OnnxModel m = load_onnx(kFolder + "onnx_types.onnx");
  TensorMap expected = load_safetensors(kFolder + "onnx_types.safetensors");
  expect_equal(m.tensors, expected);
  EXPECT_EQ(m.tensors.size(), expected.size());
  EXPECT_EQ(m.tensors.at("UINT16.typed").scalar_type(), at::kUInt16);
  EXPECT_EQ(m.tensors.at("FLOAT8E5M2.raw").scalar_type(), at::kFloat8_e5m2);
  EXPECT_EQ(m.tensors.at("INT4.raw").scalar_type(), at::kChar);
  EXPECT_EQ(m.constant_nodes.size(), 5u);
  EXPECT_EQ(m.constant_nodes.count("constant.value_floats"), 1u);
  EXPECT_EQ(m.skipped,
            (std::vector<std::string>{"texts: texts", "constant.text: not a tensor of numbers"}));
}

TEST(OnnxTest, TellsAboutTheModel) {
  OnnxModel m = load_onnx(kFolder + "onnx_types.onnx");
  EXPECT_EQ(m.metadata.dump(),
            R"({"ir_version":10,"producer":"golden","producer_version":"","graph":"weights",)"
            R"("opsets":{"ai.onnx":21},"inputs":["flag"],"outputs":["out"],)"
            R"("properties":{"names":"甲 乙"}})");
  ASSERT_EQ(m.nodes.size(), 7u);
  EXPECT_EQ(m.nodes.back().op_type, "If");
  EXPECT_EQ(m.nodes.back().name, "choice");
  EXPECT_EQ(m.nodes.back().inputs, (std::vector<std::string>{"flag"}));
  EXPECT_EQ(m.nodes[4].attributes.dump(), R"({"value_ints":[1,-2,3]})");
}

TEST(OnnxTest, Dequantises) {
  OnnxModel m = load_onnx(kFolder + "onnx_quantised.onnx", {.dequantize = true});
  TensorMap expected = load_safetensors(kFolder + "onnx_quantised.safetensors");
  ASSERT_EQ(expected.size(), 11u);
  for (const auto& [name, value] : expected) {
    EXPECT_EQ(m.tensors.at(name).scalar_type(), at::kFloat) << name;
    EXPECT_TRUE(at::allclose(m.tensors.at(name), value, 1e-6, 1e-7)) << name;
  }
  OnnxModel stored = load_onnx(kFolder + "onnx_quantised.onnx");
  EXPECT_EQ(stored.tensors.at("axis0").scalar_type(), at::kByte);
}

TEST(OnnxTest, ReadsValuesBesideTheFile) {
  expect_equal(load_onnx(kFolder + "onnx_external.onnx").tensors,
               load_safetensors(kFolder + "onnx_external.safetensors"));
  std::string text = read_file(kFolder + "onnx_external.onnx");
  expect_refused(text, "expected values in the model itself, got a file onnx_external.data");
}

// --- hostile files ---

TEST(OnnxTest, EveryTruncationIsRefusedOrHasLess) {
  std::string text = read_file(kFolder + "onnx_types.onnx");
  for (size_t n = 0; n < text.size(); n += 3) {
    expect_error(ErrorCode::kCorruptData, "expected", [&] { parse(text.substr(0, n)); });
  }
}

TEST(OnnxTest, RefusesWhatIsNoModel) {
  expect_refused("", "a protocol buffer of ONNX");
  expect_refused("hello, this is text", "expected");
  expect_refused(number(1, 8), "a graph, got none");
  // Graphs inside graphs: NodeProto.attribute (5) .g (6), as deep as the stack would last.
  std::string deep;
  for (int i = 0; i < 2000; ++i) deep = bytes(1, bytes(5, bytes(6, deep)));
  expect_refused(model({}, deep), "a protocol buffer of ONNX");
}

TEST(OnnxTest, RefusesHostileTensors) {
  constexpr uint64_t kHuge = uint64_t{1} << 62;
  expect_refused(model({tensor("w", {kHuge}, 1, raw(""))}), "an impossible one");
  expect_refused(model({tensor("w", {0, kHuge, kHuge}, 2, raw(""))}), "an impossible one");
  expect_refused(model({tensor("w", {~uint64_t{0}}, 1, raw(""))}), "an impossible one");
  expect_refused(model({tensor("w", std::vector<uint64_t>(65, 1), 1, raw("1234"))}),
                 "64 dimensions, got 65");
  expect_refused(model({tensor("w", {uint64_t{1} << 40}, 1, raw("1234"))}),
                 "expected 4398046511104 bytes, got 4");
  expect_refused(model({tensor("w", {uint64_t{1} << 40}, 22, raw("1234"))}), "bytes, got 4");
  expect_refused(model({tensor("w", {uint64_t{1} << 40}, 22, "")}), "values, got 0");
  expect_refused(model({tensor("w", {3}, 1, raw("12345678"))}), "tensor \"w\": expected 12 bytes");
  expect_refused(model({tensor("w", {1}, 1, "")}), "expected 1 values, got 0");
  expect_refused(model({tensor("w", {1}, 9, number(5, 1) + number(5, 1))}), "1 values, got 2");
  expect_refused(model({tensor("", {1}, 1, raw("1234"))}), "a name of every tensor");
  std::string one = tensor("w", {1}, 2, raw("1"));
  expect_refused(model({one, one}), "tensor \"w\" appears twice");
  EXPECT_EQ(parse(model({tensor("w", {1}, 14, raw("12345678"))})).skipped,
            (std::vector<std::string>{"w: not of real numbers"}));
}

TEST(OnnxTest, RefusesExternalValuesElsewhere) {
  tests::TemporaryFolder folder;
  write_file_atomic(folder / "w.bin", "12345678");
  auto expect = [&](ErrorCode code, const std::string& fields, const std::string& part) {
    write_file_atomic(folder / "m.onnx", model({tensor("w", {2}, 1, fields)}));
    expect_error(code, part, [&] { load_onnx(folder / "m.onnx"); });
  };
  auto corrupt = ErrorCode::kCorruptData;
  for (const char* place : {"", "/etc/hostname", "../w.bin", "a/../../w.bin"})
    expect(corrupt, external(place), "in a file beside the model");
  expect(ErrorCode::kNotFound, external("none.bin"), "none.bin, got no such file");
  expect(ErrorCode::kNotFound, external("."), "got no such file");
  expect(corrupt, external("w.bin", "4"), "the end of that file");
  expect(corrupt, external("w.bin", "18446744073709551615"), "the end of that file");
  expect(corrupt, external("w.bin", "99999999999999999999"), "numbers as place");
  expect(corrupt, external("w.bin", "-1"), "numbers as place");
  expect(corrupt, external("w.bin", "0", "4"), "expected 8 bytes, got 4");
  write_file_atomic(folder / "m.onnx", model({tensor("w", {2}, 1, external("w.bin", "0", "8"))}));
  EXPECT_EQ(load_onnx(folder / "m.onnx").tensors.at("w").numel(), 2);
}

TEST(OnnxTest, RefusesScalesThatDoNotFit) {
  auto dequantize = [](int64_t axis, int64_t block) {
    std::string node = bytes(1, "w") + bytes(1, "s") + bytes(4, "DequantizeLinear") +
                       bytes(5, bytes(1, "axis") + number(3, static_cast<uint64_t>(axis))) +
                       bytes(5, bytes(1, "block_size") + number(3, static_cast<uint64_t>(block)));
    return model(
        {tensor("w", {2, 3}, 3, raw("123456")), tensor("s", {3}, 1, raw(std::string(12, '\0')))},
        bytes(1, node));
  };
  EXPECT_EQ(parse(dequantize(1, 0), {.dequantize = true}).tensors.at("w").scalar_type(),
            at::kFloat);
  for (auto [axis, block] :
       {std::pair<int64_t, int64_t>{0, 0}, {2, 0}, {-3, 0}, {INT64_MIN, 0}, {1, 2}, {1, -1}}) {
    expect_error(ErrorCode::kCorruptData, "a scale and zero point of its shape",
                 [&] { parse(dequantize(axis, block), {.dequantize = true}); });
  }
}

}  // namespace
}  // namespace plait
