// Low-rank adapters in the folders that the PEFT package wrote (tools/golden/lora.py); every model
// of the registry takes them in test_registry.cpp.
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "plait/core/error.h"
#include "plait/core/weights/model_folder.h"
#include "plait/core/weights/safetensors.h"
#include "plait/models/convert/merge_adapter.h"
#include "plait/models/decoders/causal_lm.h"
#include "plait/models/decoders/published_decoders.h"
#include "plait/models/layers/lora.h"
#include "tests/golden.h"

namespace plait::models {
namespace {

namespace fs = std::filesystem;
const char kBase[] = PLAIT_SOURCE_DIR "/tests/golden/published_decoders/llama";
const char kFolder[] = PLAIT_SOURCE_DIR "/tests/golden/lora/";

class PeftFolder : public testing::TestWithParam<std::string> {
 protected:
  PeftFolder()
      : dir_(kFolder + GetParam()),
        expected_(load_safetensors(dir_ + "/expected.safetensors")),
        scratch_((fs::temp_directory_path() / ("plait_test_lora_" + std::to_string(getpid())))
                     .string()) {
    fs::remove_all(scratch_);
  }
  ~PeftFolder() override { fs::remove_all(scratch_); }
  at::Tensor logits(Decoder& decoder) const {
    return decoder.forward({{"input_ids", expected_.at("inputs.input_ids")}}).at("logits");
  }
  std::string dir_;
  TensorMap expected_;
  std::string scratch_;
};

TEST_P(PeftFolder, GivesTheReferencesNumbers) {
  at::NoGradGuard no_grad;
  auto decoder = load_published_decoder(kBase).decoder;
  const at::Tensor plain = logits(*decoder);
  const LoraConfig config = load_lora(dir_, *decoder);
  const at::Tensor want = expected_.at("outputs.logits");
  EXPECT_TRUE(tests::close(logits(*decoder), want, tests::parity(at::kFloat)));
  EXPECT_FALSE(tests::close(plain, want, {1e-2, 1e-2}));

  merge_lora(*decoder);
  EXPECT_TRUE(tests::close(logits(*decoder), want, tests::parity(at::kFloat)));
  int merged = 0;
  for (const auto& [name, tensor] : expected_) {
    if (!name.starts_with("merged.")) continue;
    EXPECT_TRUE(tests::close(decoder->state_dict().at(name.substr(7)), tensor, {1e-6, 1e-6}))
        << name;
    ++merged;
  }
  EXPECT_EQ(merged, 2);
  remove_lora(*decoder);  // merged, and no adapter is left
  EXPECT_TRUE(tests::close(logits(*decoder), want, tests::parity(at::kFloat)));
  EXPECT_TRUE(lora_state(*decoder).empty());

  // What is written is what was read.
  auto again = load_published_decoder(kBase).decoder;
  load_lora(dir_, *again);
  save_lora(scratch_, *again, config, "llama");
  const TensorMap ours = load_safetensors(scratch_ + "/adapter_model.safetensors"),
                  theirs = load_safetensors(dir_ + "/adapter_model.safetensors");
  ASSERT_EQ(ours.size(), theirs.size());
  for (const auto& [name, tensor] : theirs) EXPECT_TRUE(tensor.equal(ours.at(name))) << name;
  const Json written = Json::read(scratch_ + "/adapter_config.json"),
             given = Json::read(dir_ + "/adapter_config.json");
  for (const char* key : {"r", "target_modules", "use_rslora", "peft_type", "bias"})
    EXPECT_EQ(written.at(key).dump(), given.at(key).dump()) << key;
}

TEST_P(PeftFolder, MergesIntoAFolder) {
  at::NoGradGuard no_grad;
  const Json told = merge_adapter(kBase, dir_, scratch_);
  EXPECT_EQ(told.at("tensors").as_int(), 6);
  auto merged = load_published_decoder(scratch_).decoder;
  EXPECT_TRUE(
      tests::close(logits(*merged), expected_.at("outputs.logits"), tests::parity(at::kFloat)));
  EXPECT_THROW(merge_adapter(kBase, dir_, scratch_), Error);  // exists
  fs::remove_all(scratch_);
  const std::string other = PLAIT_SOURCE_DIR "/tests/golden/published_decoders/gpt2";
  EXPECT_THAT(tests::message_of([&] { merge_adapter(other, dir_, scratch_); }),
              testing::HasSubstr("no layer"));
  EXPECT_FALSE(fs::exists(scratch_));
}

INSTANTIATE_TEST_SUITE_P(Folders, PeftFolder, testing::ValuesIn(tests::entries_of(kFolder)),
                         [](const auto& info) { return info.param; });

TEST(Lora, RefusesWhatChangesTheComputation) {
  const Json json = Json::read(std::string(kFolder) + "plain/adapter_config.json");
  auto with = [&](const char* key, Json value) {
    Json changed = json;
    changed[key] = value;
    return tests::message_of([&] { LoraConfig::from_published(changed, "x"); });
  };
  EXPECT_EQ(with("some_note", 1), "no error");
  EXPECT_THAT(with("peft_type", "IA3"), testing::HasSubstr("IA3"));
  EXPECT_THAT(with("use_dora", true), testing::HasSubstr("use_dora"));
  EXPECT_THAT(with("bias", "all"), testing::HasSubstr("bias"));
  EXPECT_THAT(with("modules_to_save", Json::array({"lm_head"})),
              testing::HasSubstr("modules_to_save"));
  EXPECT_THAT(with("rank_pattern", Json::object({{"q_proj", 2}})),
              testing::HasSubstr("rank_pattern"));
  EXPECT_THAT(with("init_lora_weights", "pissa_niter_4"), testing::HasSubstr("pissa"));
  EXPECT_THAT(with("r", 0), testing::HasSubstr("rank"));
  EXPECT_THAT(with("target_modules", "(("), testing::HasSubstr("regular expression"));
  EXPECT_THAT(with("target_modules", "(l+)\\1"), testing::HasSubstr("back-references"));
  EXPECT_THAT(with("target_modules", "((.?){200}){200}"), testing::HasSubstr("expression"));
  EXPECT_THAT(with("target_modules", 3), testing::HasSubstr("target_modules"));
}

TEST(Lora, ChoosesLayersByName) {
  LoraConfig config;
  EXPECT_TRUE(config.targets("model.layers.0.mlp.down_proj"));
  EXPECT_FALSE(config.targets("lm_head"));
  config.target_modules = Json::array({"q_proj", "mlp.down_proj"});
  EXPECT_TRUE(config.targets("q_proj"));
  EXPECT_TRUE(config.targets("model.layers.11.self_attn.q_proj"));
  EXPECT_TRUE(config.targets("model.layers.1.mlp.down_proj"));
  EXPECT_FALSE(config.targets("model.layers.1.self_attn.qq_proj"));
  EXPECT_FALSE(config.targets("model.layers.1.other.down_proj"));
  config.target_modules = R"(.*layers\.1\..*)";
  EXPECT_TRUE(config.targets("model.layers.1.mlp.down_proj"));
  EXPECT_FALSE(config.targets("model.layers.11.mlp.down_proj"));

  // A backtracking matcher would not come back from this one.
  config.target_modules = "(([a-z_.0-9]+)+)+!";
  EXPECT_FALSE(config.targets("model.layers.1.self_attn.q_proj"));
  config.target_modules = R"(^(?!.*vision).*\.(q|v)_proj$)";
  EXPECT_TRUE(config.targets("model.layers.1.self_attn.q_proj"));
  EXPECT_FALSE(config.targets("vision.layers.1.self_attn.q_proj"));
  config.target_modules = R"(.*layers\.1\..*)";

  CausalLm decoder(CausalLm::Config::tiny());
  decoder.initialize(1);
  EXPECT_EQ(add_lora(decoder, config, 1).size(), 7U);
  EXPECT_THAT(tests::message_of([&] { add_lora(decoder, config, 1); }),
              testing::HasSubstr("without adapters"));
  config.target_modules = Json::array({"no_such_layer"});
  EXPECT_THAT(tests::message_of([&] { add_lora(decoder, config, 1); }),
              testing::HasSubstr("no_such_layer"));
}

TEST(Lora, DropsOutWhileTrainingAlone) {
  at::NoGradGuard no_grad;
  LoraConfig config = LoraConfig::tiny();
  config.dropout = 0.5;
  struct Holder : Module {
    Holder() : inner(add<Linear>("inner", 8, 4)) {}
    std::shared_ptr<Linear> inner;
  } holder;
  holder.initialize(2);
  add_lora(holder, config, 3);
  holder.inner->low_rank()->b->weight.fill_(1);
  holder.set_generator(at::detail::createCPUGenerator(1));
  at::Tensor x = at::ones({1, 8});
  const at::Tensor still = (*holder.inner)(x);
  EXPECT_TRUE((*holder.inner)(x).equal(still));
  holder.train(true);
  EXPECT_FALSE((*holder.inner)(x).equal((*holder.inner)(x)));
  holder.train(false);
  EXPECT_TRUE((*holder.inner)(x).equal(still));
}

}  // namespace
}  // namespace plait::models
