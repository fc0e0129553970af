// Decoders beside what every model of the registry is tested for: folders that transformers wrote
// (tools/golden/published_decoders.py), and the key/value cache.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "plait/core/weights/model_folder.h"
#include "plait/core/weights/safetensors.h"
#include "plait/models/decoders/causal_lm.h"
#include "plait/models/decoders/published_decoders.h"
#include "plait/models/registry.h"
#include "tests/golden.h"

namespace plait::models {
namespace {

const char kFolder[] = PLAIT_SOURCE_DIR "/tests/golden/published_decoders/";

class PublishedDecoder : public testing::TestWithParam<std::string> {};

TEST_P(PublishedDecoder, GivesTheReferencesNumbers) {
  std::string dir = kFolder + GetParam();
  LoadedDecoder loaded = load_published_decoder(dir);
  TensorMap expected = load_safetensors(dir + "/expected.safetensors");
  at::NoGradGuard no_grad;
  TensorMap inputs = {{"input_ids", expected.at("inputs.input_ids")},
                      {"attention_mask", expected.at("inputs.attention_mask")}};
  at::Tensor logits = loaded.decoder->forward(inputs).at("logits");
  EXPECT_TRUE(tests::close(logits, expected.at("outputs.logits"), tests::parity(at::kFloat)));
  // The config alone makes the same decoder.
  auto again = create_as<Decoder>(loaded.config, "again");
  again->load_state_dict(loaded.decoder->state_dict());
  EXPECT_TRUE(again->forward(inputs).at("logits").equal(logits));
}

INSTANTIATE_TEST_SUITE_P(Folders, PublishedDecoder, testing::ValuesIn(tests::entries_of(kFolder)),
                         [](const auto& info) { return info.param; });

TEST(PublishedDecoders, RefuseWhatChangesTheComputation) {
  ModelFolder folder = ModelFolder::open(std::string(kFolder) + "qwen2");
  auto with = [&](const char* key, Json value) {
    Json config = folder.config();
    config[key] = value;
    return tests::message_of([&] { translate_published_decoder(config, folder.weights(), "x"); });
  };
  EXPECT_THAT(with("use_sliding_window", true), testing::HasSubstr("use_sliding_window"));
  EXPECT_THAT(with("rope_parameters", Json::object({{"rope_type", "longrope"}, {"factor", 4.0}})),
              testing::HasSubstr("rope_type"));
  EXPECT_THAT(with("layer_types", Json::array({"sliding_attention", "full_attention"})),
              testing::HasSubstr("layer_types"));
  EXPECT_THAT(with("quantization_config", Json::object({{"bits", 4}})),
              testing::HasSubstr("quantization_config"));
  EXPECT_THAT(with("model_type", "no_such_type"), testing::HasSubstr("qwen3_moe"));
  EXPECT_THAT(with("num_attention_heads", 3), testing::HasSubstr("multiple"));
  EXPECT_EQ(with("some_note", "without effect"), "no error");
}

/// Older folders say "rope_theta" and "rope_scaling", and name no "model." before a base model.
TEST(PublishedDecoders, ReadOlderFolders) {
  std::string dir = std::string(kFolder) + "llama_half";
  ModelFolder folder = ModelFolder::open(dir);
  Json config = folder.config();
  Json rope = config.at("rope_parameters");
  config.erase("rope_parameters");
  config["rope_theta"] = rope.at("rope_theta");
  rope.erase("rope_theta");
  config["rope_scaling"] = rope;
  TensorMap weights;
  for (const auto& [name, tensor] : folder.weights())
    weights[name.starts_with("model.") ? name.substr(6) : name] = tensor;
  weights["layers.0.self_attn.rotary_emb.inv_freq"] = at::zeros({2});
  TranslatedModel older = translate_published_decoder(config, weights, "older");
  TranslatedModel newer = translate_published_decoder(folder.config(), folder.weights(), "newer");
  EXPECT_EQ(older.config.dump(), newer.config.dump());
  ASSERT_EQ(older.weights.size(), newer.weights.size());
  for (const auto& [name, tensor] : newer.weights)
    EXPECT_TRUE(tensor.equal(older.weights.at(name)));
}

/// Golden files of decoders without inputs that a cache has no place for.
std::vector<std::string> cached() {
  std::vector<std::string> names;
  for (const std::string& file : tests::golden_files()) {
    const std::string model = file.substr(0, std::min(file.find('@'), file.size()));
    if (registry().contains(model) && registry().at(model).kind == "decoder") names.push_back(file);
  }
  names.push_back("causal_lm_cross");
  return names;
}

class DecoderCache : public testing::TestWithParam<std::string> {};

TEST_P(DecoderCache, GivesTheSameTokenByToken) {
  tests::Golden golden = tests::load_golden(GetParam());
  auto decoder = create_as<Decoder>(golden.config, GetParam());
  decoder->load_state_dict(golden.weights);
  at::NoGradGuard no_grad;
  at::Tensor whole = decoder->hidden_states(golden.inputs);
  const int64_t length = whole.size(1);
  for (int64_t first : {int64_t{1}, length / 2}) {
    KvCache cache = decoder->make_cache(whole.size(0), 2);  // too small: it has to grow
    for (int64_t at = 0; at < length;) {
      const int64_t count = at == 0 ? first : at == first ? 2 : 1;
      TensorMap part = golden.inputs;
      for (const char* name : {"input_ids", "attention_mask"})
        part[name] = golden.inputs.at(name).narrow(1, at, count);
      at::Tensor step = decoder->hidden_states(part, &cache);
      EXPECT_TRUE(tests::close(step, whole.narrow(1, at, count), tests::batching(at::kFloat)))
          << "from token " << at;
      at += count;
    }
    EXPECT_EQ(cache.length(), length);
  }
}

INSTANTIATE_TEST_SUITE_P(Decoders, DecoderCache, testing::ValuesIn(cached()), [](const auto& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '@', '_');
  return name;
});

TEST(DecoderCache, SelectsRowsAndForgets) {
  CausalLm decoder(CausalLm::Config::tiny());
  decoder.initialize(3);
  at::NoGradGuard no_grad;
  at::Tensor ids = at::tensor({3, 5, 9, 11, 2, 60}, at::kLong).view({2, 3});
  at::Tensor swapped = ids.index_select(0, at::tensor({1, 1, 0}, at::kLong));
  at::Tensor next = at::tensor({7, 8, 9}, at::kLong).view({3, 1});
  at::Tensor whole = decoder.hidden_states({{"input_ids", at::cat({swapped, next}, 1)}});
  KvCache cache = decoder.make_cache(2, 8);
  decoder.hidden_states({{"input_ids", ids}}, &cache);
  cache.select(at::tensor({1, 1, 0}, at::kLong));
  for (int round = 0; round < 2; ++round) {
    at::Tensor step = decoder.hidden_states({{"input_ids", next}}, &cache);
    EXPECT_TRUE(tests::close(step, whole.narrow(1, 3, 1), tests::batching(at::kFloat)));
    cache.truncate(3);
  }
  EXPECT_THROW(cache.truncate(4), Error);
  EXPECT_THROW(decoder.hidden_states({{"input_ids", ids}}, &cache), Error);  // two rows, not three
}

TEST(CausalLm, RefusesWrongInputs) {
  CausalLm decoder(CausalLm::Config::tiny());
  at::Tensor ids = at::zeros({1, 65}, at::kLong);
  EXPECT_THAT(tests::message_of([&] {
                decoder.forward({{"input_ids", ids}});
              }),
              testing::HasSubstr("at most 64 tokens"));
  EXPECT_THROW(decoder.forward({{"input_ids", at::full({1, 2}, 67, at::kLong)}}), Error);
  EXPECT_THROW(decoder.forward({{"inputs_embeds", at::zeros({1, 2, 15})}}), Error);
  EXPECT_THROW(decoder.forward({{"input_ids", at::zeros({1, 0}, at::kLong)}}), Error);
  EXPECT_THROW(decoder.forward({{"input_ids", at::zeros({1, 2}, at::kLong)},
                                {"attention_mask", at::ones({1, 3}, at::kLong)}}),
               Error);
  EXPECT_THROW(decoder.forward({{"input_ids", at::zeros({1, 2}, at::kLong)},
                                {"encoder_hidden_states", at::ones({1, 3, 16})}}),
               Error);
}

}  // namespace
}  // namespace plait::models
