// Folders that transformers wrote (tools/golden/published.py), and what may be wrong with one.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "plait/core/weights/model_folder.h"
#include "plait/core/weights/safetensors.h"
#include "plait/models/encoders/efficientnet_lite.h"
#include "plait/models/encoders/published.h"
#include "plait/models/encoders/resnet.h"
#include "plait/models/registry.h"
#include "tests/golden.h"

namespace plait::models {
namespace {

const char kFolder[] = PLAIT_SOURCE_DIR "/tests/golden/published/";

class PublishedTest : public testing::TestWithParam<std::string> {};

TEST_P(PublishedTest, GivesTheReferencesNumbers) {
  std::string dir = kFolder + GetParam();
  LoadedEncoder loaded = load_published(dir);
  ASSERT_TRUE(loaded.encoder);
  TensorMap inputs, expected;
  for (const auto& [name, tensor] : load_safetensors(dir + "/expected.safetensors")) {
    if (name.starts_with("inputs.")) inputs[name.substr(7)] = tensor.clone();
    if (name.starts_with("outputs.")) expected[name.substr(8)] = tensor.clone();
  }
  ASSERT_FALSE(expected.empty());
  at::NoGradGuard no_grad;
  TensorMap outputs = loaded.encoder->forward(inputs);
  for (const auto& [name, tensor] : expected) {
    ASSERT_TRUE(outputs.count(name)) << name;
    at::Tensor got = outputs.at(name), want = tensor;
    if (inputs.count("attention_mask") && name == "last_hidden_state") {
      // Padding has no meaning, and the two sides need not agree there.
      at::Tensor padding = at::eq(inputs.at("attention_mask"), 0).unsqueeze(-1);
      got = got.masked_fill(padding, 0);
      want = want.masked_fill(padding, 0);
    }
    EXPECT_TRUE(tests::close(got, want, tests::parity(at::kFloat))) << name;
  }
  // The config alone makes the same encoder.
  auto again = create_as<Encoder>(loaded.config, "again");
  again->load_state_dict(loaded.encoder->state_dict());
  EXPECT_TRUE(again->forward(inputs).at("pooled").equal(outputs.at("pooled")));
}

INSTANTIATE_TEST_SUITE_P(Folders, PublishedTest, testing::ValuesIn(tests::entries_of(kFolder)),
                         [](const auto& info) { return info.param; });

TEST(Published, RefusesWhatChangesTheComputation) {
  ModelFolder folder = ModelFolder::open(std::string(kFolder) + "bert");
  TensorMap weights = folder.weights();
  auto with = [&](const char* key, Json value) {
    Json config = folder.config();
    config[key] = value;
    return tests::message_of([&] { translate_published(config, weights, "x/config.json"); });
  };
  EXPECT_THAT(with("position_embedding_type", "relative_key"),
              testing::HasSubstr("position_embedding_type"));
  EXPECT_THAT(with("is_decoder", true), testing::HasSubstr("is_decoder"));
  EXPECT_THAT(with("quantization_config", Json::object({{"bits", 4}})),
              testing::HasSubstr("quantization_config"));
  EXPECT_THAT(with("model_type", "no_such_type"), testing::HasSubstr("xlm-roberta"));
  EXPECT_EQ(with("some_note", "without effect"), "no error");
}

TEST(Published, RefusesMissingAndUnknownWeights) {
  auto dir =
      std::filesystem::temp_directory_path() / ("plait_published_" + std::to_string(getpid()));
  ModelFolder folder = ModelFolder::open(std::string(kFolder) + "vit_pooler");
  TensorMap weights = folder.weights();
  weights.erase("layernorm.bias");
  weights["surprise"] = at::zeros({1});
  save_model_folder(dir.string(), folder.config(), weights);
  std::string message = tests::message_of([&] { load_published(dir.string()); });
  std::filesystem::remove_all(dir);
  EXPECT_THAT(message, testing::HasSubstr("missing layernorm.bias"));
  EXPECT_THAT(message, testing::HasSubstr("unexpected surprise"));
}

/// Names of torchvision from ours.
TensorMap as_torchvision(const TensorMap& weights) {
  TensorMap out;
  for (const auto& [ours, tensor] : weights) {
    std::string name = ours;
    auto replace = [&](const std::string& from, const std::string& to) {
      size_t at = name.find(from);
      if (at != std::string::npos) name.replace(at, from.size(), to);
    };
    replace("embedder.embedder.convolution.", "conv1.");
    replace("embedder.embedder.normalization.", "bn1.");
    for (int i = 0; i < 4; ++i)
      replace("encoder.stages." + std::to_string(i) + ".layers.",
              "layer" + std::to_string(i + 1) + ".");
    replace("shortcut.convolution.", "downsample.0.");
    replace("shortcut.normalization.", "downsample.1.");
    for (int i = 0; i < 3; ++i) {
      std::string n = std::to_string(i), one = std::to_string(i + 1);
      replace("layer." + n + ".convolution.", "conv" + one + ".");
      replace("layer." + n + ".normalization.", "bn" + one + ".");
    }
    replace("classifier.", "fc.");
    if (!name.ends_with("num_batches_tracked")) out[name] = tensor;
  }
  return out;
}

TEST(Published, KnowsTorchvisionsResNetByItsWeights) {
  ResNet::Config config = ResNet::Config::of_depth(50);
  config.embedding_size = 8;
  config.hidden_sizes = {16, 24, 32, 40};
  config.num_classes = 7;
  ResNet model(config);
  model.initialize(3);
  TranslatedModel translated =
      translate_published({}, as_torchvision(model.state_dict()), "resnet50.pth");
  auto again = create_as<Encoder>(translated.config, "again");
  again->load_state_dict(translated.weights);
  at::Tensor pixels = at::rand({1, 3, 40, 40});
  at::NoGradGuard no_grad;
  EXPECT_TRUE(again->forward({{"pixel_values", pixels}})
                  .at("logits")
                  .equal(model.forward({{"pixel_values", pixels}}).at("logits")));
}

TEST(Published, KnowsEfficientNetLiteByItsWeights) {
  for (int variant : {0, 2}) {
    EfficientNetLite model(EfficientNetLite::Config::lite(variant));
    TranslatedModel translated = translate_published({}, model.state_dict(), "lite.pth");
    EXPECT_EQ(translated.config.at("type").as_string(), "efficientnet_lite");
    EXPECT_EQ(translated.config.at("width_coefficient").as_double(),
              EfficientNetLite::Config::lite(variant).width_coefficient);
  }
  EXPECT_THROW(translate_published({}, {{"other", at::zeros({2})}}, "other.pth"), Error);
  TensorMap odd = {{"x.#", at::zeros({2})}, {std::string(600, 'a'), at::zeros({2})}};
  EXPECT_THROW(translate_published(Json::object({{"model_type", "resnet"}}), odd, "odd.pth"),
               Error);
}

}  // namespace
}  // namespace plait::models
