#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "plait/core/file.h"
#include "plait/core/weights/model_folder.h"
#include "plait/core/weights/safetensors.h"
#include "tests/core/expect_error.h"

namespace plait {
namespace {

namespace fs = std::filesystem;
using tests::expect_error;

TensorMap some_weights() {
  TensorMap out;
  for (int i = 0; i < 5; ++i) out["layer." + std::to_string(i)] = at::full({10, 10}, i);
  return out;
}

void expect_same(const TensorMap& got, const TensorMap& expected) {
  ASSERT_EQ(got.size(), expected.size());
  for (const auto& [name, tensor] : expected) EXPECT_TRUE(at::equal(got.at(name), tensor)) << name;
}

std::vector<std::string> names_in(const std::string& dir) {
  std::vector<std::string> out;
  for (const auto& entry : fs::directory_iterator(dir)) out.push_back(entry.path().filename());
  std::sort(out.begin(), out.end());
  return out;
}

TEST(ModelFolderTest, OneFileRoundTrip) {
  tests::TemporaryFolder folder;
  std::string dir = folder / "deep/model";
  save_model_folder(dir, Json::object({{"model_type", "plait"}}), some_weights());
  ModelFolder model = ModelFolder::open(dir);
  EXPECT_EQ(model.config().at("model_type").as_string(), "plait");
  expect_same(model.weights(), some_weights());
  EXPECT_EQ(names_in(dir), (std::vector<std::string>{"config.json", "model.safetensors"}));
}

TEST(ModelFolderTest, ShardsRoundTripWithAnIndex) {
  tests::TemporaryFolder folder;
  size_t one = some_weights().begin()->second.nbytes();
  save_model_folder(folder.path(), Json(), some_weights(), 2 * one);
  EXPECT_EQ(names_in(folder.path()),
            (std::vector<std::string>{
                "model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors",
                "model-00003-of-00003.safetensors", "model.safetensors.index.json"}));
  ModelFolder model = ModelFolder::open(folder.path());
  EXPECT_TRUE(model.config().is_null());
  expect_same(model.weights(), some_weights());
  Json index = Json::read(folder / "model.safetensors.index.json");
  EXPECT_EQ(index.at("metadata").at("total_size").as_int(), static_cast<int64_t>(5 * one));
  EXPECT_EQ(index.at("weight_map").at("layer.4").as_string(), "model-00003-of-00003.safetensors");
}

TEST(ModelFolderTest, SavingAgainLeavesNoStaleWeights) {
  tests::TemporaryFolder folder;
  write_file_atomic(folder / "tokenizer.json", "{}");
  save_model_folder(folder.path(), Json(), some_weights(), 1);
  TensorMap loaded = ModelFolder::open(folder.path()).weights();
  save_model_folder(folder.path(), Json(), loaded);  // from its own memory maps
  EXPECT_EQ(names_in(folder.path()),
            (std::vector<std::string>{"model.safetensors", "tokenizer.json"}));
  expect_same(ModelFolder::open(folder.path()).weights(), some_weights());
  save_model_folder(folder.path(), Json(), {{"other", at::ones({2})}, {"second", at::ones({2})}},
                    8);
  EXPECT_EQ(names_in(folder.path()).size(), 4u);
  EXPECT_EQ(ModelFolder::open(folder.path()).weights().size(), 2u);
}

TEST(ModelFolderTest, ReadsTheOtherFormats) {
  const std::string golden = std::string(PLAIT_SOURCE_DIR) + "/tests/golden/weights/";
  for (const char* name : {"pytorch_model.bin", "weights.pth"}) {
    tests::TemporaryFolder folder;
    fs::copy_file(golden + "state_dict.pth", folder / name);
    expect_same(ModelFolder::open(folder.path()).weights(),
                load_safetensors(golden + "state_dict.safetensors"));
  }
  tests::TemporaryFolder folder;
  fs::copy_file(golden + "state_dict.pth", folder / "a.bin");
  fs::copy_file(golden + "views.pth", folder / "b.bin");
  Json::parse(R"({"weight_map": {"0.bias": "a.bin", "row": "b.bin"}})")
      .write(folder / "pytorch_model.bin.index.json");
  TensorMap m = ModelFolder::open(folder.path()).weights();
  ASSERT_EQ(m.size(), 2u);
  EXPECT_EQ(m.at("row").size(0), 6);
}

TEST(ModelFolderTest, NamesThatLeaveTheFolderAreRefused) {
  tests::TemporaryFolder folder;
  std::string dir = folder / "model";
  save_model_folder(dir, Json(), some_weights());
  write_file_atomic(folder / "secret", "x");
  fs::create_directory(dir + "/sub");
  write_file_atomic(dir + "/sub/f", "x");
  ModelFolder model = ModelFolder::open(dir);
  for (std::string name :
       {std::string("../secret"), std::string("sub/../../secret"), folder / "secret", std::string(),
        std::string(".."), std::string("a\0b", 3)}) {
    expect_error(ErrorCode::kInvalidArgument, "inside the folder", [&] { model.file(name); });
  }
  EXPECT_EQ(fs::path(model.file("sub/f")), fs::canonical(dir) / "sub/f");
  EXPECT_EQ(model.file("sub"), "");
  EXPECT_EQ(model.file("none"), "");
  Json::parse(R"({"weight_map": {"a": "../secret"}})").write(dir + "/model.safetensors.index.json");
  expect_error(ErrorCode::kInvalidArgument, "inside the folder", [&] { model.weights(); });
}

TEST(ModelFolderTest, SaysWhatIsMissing) {
  tests::TemporaryFolder folder;
  expect_error(ErrorCode::kNotFound, "expected a folder",
               [&] { ModelFolder::open(folder / "none"); });
  expect_error(ErrorCode::kNotFound, "model.safetensors",
               [&] { ModelFolder::open(folder.path()); });
  write_file_atomic(folder / "config.json", "{}");
  expect_error(ErrorCode::kNotFound, "expected weights",
               [&] { ModelFolder::open(folder.path()).weights(); });
  std::string index = folder / "model.safetensors.index.json";
  auto weights = [&] { ModelFolder::open(folder.path()).weights(); };
  write_file_atomic(index, R"({"weight_map": {"a": "shard.safetensors"}})");
  expect_error(ErrorCode::kNotFound, "shard.safetensors", weights);
  save_safetensors(folder / "shard.safetensors", {{"b", at::ones({1})}});
  expect_error(ErrorCode::kCorruptData, "expected a tensor \"a\"", weights);
  for (const char* text :
       {"{}", "[]", R"({"weight_map": 1})", R"({"weight_map": {"b": 1}})",
        R"({"weight_map": {"b": "shard.safetensors", "b": "shard.safetensors"}})"}) {
    write_file_atomic(index, text);
    expect_error(ErrorCode::kCorruptData, index, weights);
  }
}

}  // namespace
}  // namespace plait
