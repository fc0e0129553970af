#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "plait/core/error.h"
#include "plait/core/weights/model_folder.h"
#include "plait/data/processor.h"
#include "plait/models/catalogue.h"
#include "plait/models/decoders/published_decoders.h"
#include "plait/models/encoders/encoder.h"
#include "plait/models/graph/onnx_graph.h"
#include "plait/models/registry.h"

/// With the real packages, which the set-up step has put into the cache (else they are fetched
/// here).
namespace plait::models {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

TEST(Catalogue, EveryModelIsPinned) {
  EXPECT_GE(list_models().size(), 13u);
  for (const PublishedModel& model : list_models()) {
    EXPECT_FALSE(model.licence.empty()) << model.name;
    EXPECT_GT(model.download_bytes(), 500'000) << model.name;
    for (const data::Package& package : model.packages)
      EXPECT_EQ(package.sha256.size(), 64u) << package.name;
  }
}

TEST(Catalogue, NamesAndPathsAreResolved) {
  std::string here = fs::temp_directory_path().string();
  EXPECT_EQ(resolve_model(here), here);
  for (const char* name : {"no-such-model", "../minilm", "/no/such/folder"}) {
    try {
      resolve_model(name);
      ADD_FAILURE() << name;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kNotFound);
      EXPECT_THAT(error.what(), HasSubstr("minilm"));
    }
  }
  EXPECT_THROW(resolve_model(""), Error);
  EXPECT_THROW(get_model("no-such-model"), Error);
}

class CatalogueModel : public ::testing::TestWithParam<std::string> {};

TEST_P(CatalogueModel, LoadsWithEveryWeightAndRuns) {
  std::string dir = get_model(GetParam());
  EXPECT_TRUE(is_model_ready(GetParam()));
  EXPECT_EQ(resolve_model(GetParam()), dir);
  ModelFolder folder = ModelFolder::open(dir);
  auto encoder = create_as<Encoder>(folder.config().at("encoder"), GetParam());
  encoder->load_state_dict(folder.weights());
  encoder->train(false);
  EXPECT_EQ(encoder->modality(), published_model(GetParam()).modality);

  auto processor = data::make_processor(folder.config().at("processor"), dir, GetParam());
  Value value;
  switch (encoder->modality()) {
    case Modality::kText: value = std::string("A red apple."); break;
    case Modality::kImage: value = at::full({300, 200, 3}, 90, at::kByte); break;
    default: value = Waveform{at::sin(at::arange(24000) * 0.1).to(at::kFloat), 16000};
  }
  EncoderOutput output = encoder->encode(processor->process({&value}, GetParam()));
  EXPECT_EQ(output.pooled.size(0), 1);
  EXPECT_EQ(output.pooled.size(1), encoder->width());
  EXPECT_TRUE(output.pooled.isfinite().all().item<bool>());
  EXPECT_GT(output.pooled.abs().max().item<float>(), 1e-3);
}

TEST(Catalogue, LanguageModelsLoadAndAreFoundByTheirBegin) {
  EXPECT_EQ(published_model("smollm2").name, "smollm2-135m-instruct");
  EXPECT_THROW(published_model("whisper"), Error);  // two of them
  std::string dir = get_model("smollm2");
  EXPECT_EQ(resolve_model("smollm2-135m-instruct"), dir);
  LoadedDecoder loaded = load_published_decoder(dir);
  EXPECT_EQ(loaded.decoder->parameter_count(), 134'515'008);
  at::Tensor hidden = loaded.decoder->hidden_states(
      {{"input_ids", at::tensor({504, 3575, 282, 4649, 314}, at::kLong).unsqueeze(0)}});
  EXPECT_TRUE(hidden.isfinite().all().item<bool>());
}

TEST(Catalogue, NetworksThatReadTextLoadAndRun) {
  std::string dir = get_model("pp-ocrv4");
  at::Tensor picture = at::zeros({1, 3, 64, 96});
  for (const char* name : {"detector", "direction", "recognizer"}) {
    OnnxGraph graph = OnnxGraph::load(dir + "/" + name + ".safetensors");
    at::Tensor input = std::string(name) == "detector" ? picture : at::zeros({2, 3, 48, 192});
    TensorMap output = graph.run({{graph.inputs().at(0), input}});
    ASSERT_EQ(output.size(), 1u);
    EXPECT_TRUE(output.begin()->second.isfinite().all().item<bool>()) << name;
    EXPECT_EQ(output.begin()->second.size(0), input.size(0));
  }
}

TEST(Catalogue, NetworksThatFindThingsAndFacesLoadAndRun) {
  struct Network {
    const char *model, *file;
    std::vector<int64_t> input;
    std::vector<std::vector<int64_t>> outputs;
  };
  const Network networks[] = {
      {"centernet", "detector", {1, 512, 512, 3}, {{1, 128, 128, 80}, {1, 128, 128, 4}}},
      {"face-ssd", "detector", {1, 3, 512, 512}, {{1, 5118, 4}, {1, 5118}}},
      {"face-ssd", "landmarks", {2, 3, 112, 112}, {{2, 136}}},
      {"face-recognition", "recognizer", {2, 3, 150, 150}, {{2, 128}}}};
  for (const Network& network : networks) {
    std::string dir = get_model(network.model);
    EXPECT_TRUE(is_model_ready(network.model));
    OnnxGraph graph = OnnxGraph::load(dir + "/" + network.file + ".safetensors");
    TensorMap output = graph.run({{graph.inputs().at(0), at::zeros(network.input)}});
    ASSERT_EQ(graph.outputs().size(), network.outputs.size());
    for (size_t i = 0; i < network.outputs.size(); ++i) {
      const at::Tensor& value = output.at(graph.outputs()[i]);
      EXPECT_EQ(value.sizes(), at::IntArrayRef(network.outputs[i])) << network.model;
      EXPECT_TRUE(value.isfinite().all().item<bool>()) << network.model;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Published, CatalogueModel,
                         ::testing::Values("minilm", "multilingual-e5-small", "efficientnet-lite0",
                                           "whisper-tiny.en", "whisper-base", "speaker-ge2e",
                                           "silero-vad", "imagenet-classifier"));

}  // namespace
}  // namespace plait::models
