// Language models that see and hear, in the folders that transformers wrote
// (tools/golden/multimodal_lm.py).
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "plait/core/weights/model_folder.h"
#include "plait/core/weights/safetensors.h"
#include "plait/models/decoders/published_multimodal.h"
#include "tests/golden.h"

namespace plait::models {
namespace {

const char kFolder[] = PLAIT_SOURCE_DIR "/tests/golden/published_multimodal/";

class PublishedMultimodal : public testing::TestWithParam<std::string> {
 protected:
  std::string dir() const { return kFolder + GetParam(); }
};

TEST_P(PublishedMultimodal, GivesTheReferencesNumbers) {
  auto model = load_published_multimodal(dir());
  TensorMap inputs;
  const TensorMap expected = load_safetensors(dir() + "/expected.safetensors");
  for (const auto& [name, tensor] : expected) {
    if (name.starts_with("inputs.")) inputs[name.substr(7)] = tensor;
  }
  at::NoGradGuard no_grad;
  EXPECT_TRUE(tests::close(model->forward(inputs).at("logits"), expected.at("outputs.logits"),
                           tests::parity(at::kFloat)));
}

/// Published folders have the head below "language_model.", transformers in memory has everything
/// else below "model.".
TEST_P(PublishedMultimodal, ReadsNamesOfEitherKind) {
  ModelFolder folder = ModelFolder::open(dir());
  TensorMap other;
  for (const auto& [name, tensor] : folder.weights()) {
    std::string renamed = "model." + name;
    if (name.starts_with("language_model.model.")) {
      renamed = "model.language_model." + name.substr(21);
    } else if (name.starts_with("language_model.lm_head.")) {
      renamed = name.substr(15);
    }
    other[renamed] = tensor;
  }
  TranslatedModel was = translate_published_multimodal(folder.config(), other, "other");
  TranslatedModel is = translate_published_multimodal(folder.config(), folder.weights(), "own");
  ASSERT_EQ(was.weights.size(), is.weights.size());
  for (const auto& [name, tensor] : is.weights) EXPECT_TRUE(tensor.equal(was.weights.at(name)));
  other["model.no_such_part.weight"] = at::zeros({1});
  EXPECT_THAT(
      tests::message_of([&] { translate_published_multimodal(folder.config(), other, "other"); }),
      testing::HasSubstr("no_such_part"));
}

INSTANTIATE_TEST_SUITE_P(Folders, PublishedMultimodal,
                         testing::ValuesIn(tests::entries_of(kFolder)),
                         [](const auto& info) { return info.param; });

TEST(PublishedMultimodalFolders, RefuseWhatChangesTheComputation) {
  ModelFolder folder = ModelFolder::open(std::string(kFolder) + "llava");
  auto with = [&](const char* key, Json value) {
    Json config = folder.config();
    config[key] = value;
    return tests::message_of(
        [&] { translate_published_multimodal(config, folder.weights(), "x"); });
  };
  EXPECT_THAT(with("vision_feature_layer", Json::array({-2, -1})),
              testing::HasSubstr("vision_feature_layer"));
  EXPECT_THAT(with("vision_feature_layer", 7), testing::HasSubstr("vision_feature_layer"));
  EXPECT_THAT(with("vision_feature_select_strategy", "some"), testing::HasSubstr("full"));
  EXPECT_THAT(with("model_type", "llava_next"), testing::HasSubstr("qwen2_audio"));
  EXPECT_THAT(with("vision_config", Json::object({{"model_type", "vit"}})),
              testing::HasSubstr("siglip_vision_model"));
  EXPECT_THAT(with("quantization_config", Json::object({{"bits", 4}})),
              testing::HasSubstr("quantization_config"));
  EXPECT_EQ(with("some_note", "without effect"), "no error");
}

TEST(MultimodalLm, WantsAPlaceForEveryToken) {
  auto model = load_published_multimodal(std::string(kFolder) + "llava");
  TensorMap inputs = {{"input_ids", at::full({1, 8}, 66, at::kLong)},
                      {"pixel_values", at::zeros({1, 3, 12, 12})}};
  EXPECT_THAT(tests::message_of([&] { model->forward(inputs); }),
              testing::HasSubstr("9 tokens of the encoder, got 8"));
  inputs.erase("pixel_values");
  EXPECT_THAT(tests::message_of([&] { model->forward(inputs); }),
              testing::HasSubstr("0 tokens of the encoder, got 8"));
  inputs["input_ids"] = at::full({1, 8}, 65, at::kLong);
  EXPECT_EQ(model->forward(inputs).at("logits").size(1), 8);  // text alone
  // Pictures of another size have another number of tokens.
  inputs["input_ids"] = at::full({1, 12}, 66, at::kLong);
  inputs["pixel_values"] = at::zeros({1, 3, 12, 16});
  EXPECT_EQ(model->forward(inputs).at("logits").size(1), 12);
}

}  // namespace
}  // namespace plait::models
