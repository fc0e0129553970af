#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "plait/core/file.h"
#include "plait/core/weights/ctranslate2.h"
#include "tests/core/expect_error.h"
#include "tests/core/stored_zip.h"

namespace plait {
namespace {

using tests::append;
using tests::expect_error;

std::string text(const std::string& s) {
  std::string out;
  append(out, s.size() + 1, 2);
  return out + s + '\0';
}

std::string variable(const std::string& name, const std::vector<uint32_t>& shape, int type,
                     const std::string& data, int64_t size = -1) {
  std::string out = text(name);
  append(out, shape.size(), 1);
  for (uint32_t extent : shape) append(out, extent, 4);
  append(out, static_cast<uint64_t>(type), 1);
  append(out, size < 0 ? data.size() : static_cast<uint64_t>(size), 4);
  return out + data;
}

std::string model(uint32_t version, const std::vector<std::string>& variables,
                  const std::vector<std::pair<std::string, std::string>>& aliases = {}) {
  std::string out;
  append(out, version, 4);
  out += text("WhisperSpec");
  append(out, 3, 4);
  append(out, variables.size(), 4);
  for (const std::string& v : variables) out += v;
  append(out, aliases.size(), 4);
  for (const auto& [alias, name] : aliases) out += text(alias) + text(name);
  return out;
}

std::string bytes_of(const at::Tensor& t) {
  at::Tensor c = t.contiguous();
  return {static_cast<const char*>(c.const_data_ptr()), c.nbytes()};
}

void expect_refused(const std::string& bytes, const std::string& part) {
  expect_error(ErrorCode::kCorruptData, part, [&] { parse_ctranslate2(bytes, "model.bin"); });
  expect_error(ErrorCode::kCorruptData, "model.bin",
               [&] { parse_ctranslate2(bytes, "model.bin"); });
}

TEST(CTranslate2Test, ReadsEveryDtypeInEveryVersion) {
  at::ScalarType types[] = {at::kFloat, at::kChar, at::kShort, at::kInt, at::kHalf, at::kBFloat16};
  for (uint32_t version : {4u, 5u, 6u}) {
    std::vector<std::string> variables;
    for (int i = 0; i < 6; ++i) {
      at::Tensor t = at::arange(6).reshape({2, 3}).to(types[i]);
      variables.push_back(variable("v" + std::to_string(i), {2, 3}, i, bytes_of(t)));
    }
    variables.push_back(variable("scalar", {}, 1, "\5"));
    variables.push_back(variable("none", {0, 5}, 0, ""));
    CTranslate2Model m = parse_ctranslate2(model(version, variables), "x");
    EXPECT_EQ(m.spec, "WhisperSpec");
    EXPECT_EQ(m.revision, 3u);
    for (int i = 0; i < 6; ++i) {
      const at::Tensor& t = m.variables.at("v" + std::to_string(i));
      EXPECT_EQ(t.scalar_type(), types[i]);
      EXPECT_TRUE(at::equal(t.to(at::kLong), at::arange(6).reshape({2, 3})));
      EXPECT_EQ(reinterpret_cast<uintptr_t>(t.const_data_ptr()) % t.element_size(), 0u);
    }
    EXPECT_EQ(m.variables.at("scalar").item<int>(), 5);
    EXPECT_EQ(m.variables.at("none").sizes(), (std::vector<int64_t>{0, 5}));
  }
}

TEST(CTranslate2Test, ResolvesAliasesWithTheirScales) {
  std::string bytes = model(6,
                            {variable("a/weight", {2, 1}, 1, "\1\2"),
                             variable("a/weight_scale", {2}, 0, bytes_of(at::ones({2})))},
                            {{"b/weight", "a/weight"}});
  TensorMap v = parse_ctranslate2(bytes, "x").variables;
  ASSERT_EQ(v.size(), 4u);
  EXPECT_TRUE(v.at("b/weight").is_same(v.at("a/weight")));
  EXPECT_TRUE(v.at("b/weight_scale").is_same(v.at("a/weight_scale")));
}

TEST(CTranslate2Test, TensorsOutliveTheFile) {
  tests::TemporaryFolder folder;
  write_file_atomic(folder / "model.bin",
                    model(6, {variable("w", {4}, 0, bytes_of(at::ones({4})))}));
  at::Tensor w = load_ctranslate2(folder / "model.bin").variables.at("w");
  std::filesystem::remove(folder / "model.bin");
  EXPECT_TRUE(at::equal(w, at::ones({4})));
}

TEST(CTranslate2Test, EveryTruncationIsRefused) {
  std::string bytes = model(6, {variable("w", {2}, 0, bytes_of(at::ones({2})))}, {{"x", "w"}});
  EXPECT_EQ(parse_ctranslate2(bytes, "x").variables.size(), 2u);
  for (size_t n = 0; n < bytes.size(); ++n) expect_refused(bytes.substr(0, n), "expected");
}

TEST(CTranslate2Test, RefusesHostileFiles) {
  expect_refused(model(3, {}), "version 4 to 6, got 3");
  expect_refused(model(7, {}), "version 4 to 6, got 7");
  expect_refused(model(6, {variable("w", {2}, 6, "1234")}),
                 "variable \"w\": expected a known dtype, got number 6");
  expect_refused(model(6, {variable("w", {3}, 0, "12345678")}),
                 "as many bytes as its shape needs, got 8");
  expect_refused(model(6, {variable("w", {1}, 0, "1234", 0xffffffff)}), "as many bytes");
  expect_refused(model(6, {variable("w", {0xffffffff}, 1, "1234", 0xffffffff)}),
                 "got the end of the file");
  expect_refused(model(6, {variable("w", {0xffffffff, 0xffffffff, 0xffffffff}, 1, "")}),
                 "as many bytes");
  expect_refused(model(6, {variable("w", {0, 0xffffffff, 0xffffffff}, 1, "")}), "as many bytes");
  expect_refused(model(6, {variable("w", std::vector<uint32_t>(65, 1), 1, "1")}), "64 dimensions");
  expect_refused(model(6, {variable("w", {1}, 1, "1"), variable("w", {1}, 1, "2")}),
                 "appears twice");
  expect_refused(model(6, {}, {{"a", "b"}}), "expected a variable \"b\", got none");
  std::string many = model(6, {});
  many.replace(many.size() - 8, 4, std::string(4, '\xff'));
  expect_refused(many, "at most a million variables");
  std::string unended = model(6, {});
  unended[4 + 2 + 11] = 'x';
  expect_refused(unended, "zero byte");
}

}  // namespace
}  // namespace plait
