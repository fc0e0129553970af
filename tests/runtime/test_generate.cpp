// Continuations against transformers' generate() on the folders of
// tools/golden/published_decoders.py.
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "plait/core/error.h"
#include "plait/core/weights/safetensors.h"
#include "plait/models/decoders/causal_lm.h"
#include "plait/models/decoders/published_decoders.h"
#include "plait/models/decoders/published_multimodal.h"
#include "plait/runtime/generate/generate.h"
#include "tests/golden.h"

namespace plait::runtime {
namespace {

const char kFolder[] = PLAIT_SOURCE_DIR "/tests/golden/published_decoders/";
constexpr int64_t kEndOfText = 7;

std::vector<int64_t> ids_of(const at::Tensor& row) {
  std::vector<int64_t> out;
  for (int64_t i = 0; i < row.size(0); ++i) {
    if (int64_t id = row[i].item<int64_t>(); id >= 0) out.push_back(id);
  }
  return out;
}

Prompt prompt_of(const at::Tensor& ids, std::vector<int64_t> end_of_text = {}) {
  Prompt prompt;
  prompt.ids = ids_of(ids);
  prompt.end_of_text = std::move(end_of_text);
  return prompt;
}

class GeneratesAs : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    decoder_ = models::load_published_decoder(kFolder + GetParam()).decoder;
    golden_ = load_safetensors(kFolder + GetParam() + "/expected.safetensors");
    prompts_ = golden_.at("prompts");
  }
  std::shared_ptr<models::Decoder> decoder_;
  TensorMap golden_;
  at::Tensor prompts_;
};

TEST_P(GeneratesAs, TheReferenceGreedily) {
  GenerateOptions options;
  options.max_new_tokens = 24;
  for (int64_t i = 0; i < prompts_.size(0); ++i) {
    auto made = generate(*decoder_, prompt_of(prompts_[i]), options);
    EXPECT_EQ(made.at(0).ids(), ids_of(golden_.at("greedy")[i])) << "prompt " << i;
    EXPECT_EQ(made[0].finish, Finish::kLength);
  }
}

TEST_P(GeneratesAs, TheReferenceWithBeams) {
  int searches = 0;
  for (const auto& [name, expected] : golden_) {
    if (!name.starts_with("beams.") || !name.ends_with(".ids")) continue;
    // "beams.4.0.6.true.ids"
    const size_t first = name.find('.', 6), last = name.rfind('.', name.size() - 5);
    GenerateOptions options;
    options.max_new_tokens = 24;
    options.num_beams = options.num_return_sequences = std::stol(name.substr(6, first - 6));
    options.length_penalty = std::stod(name.substr(first + 1, last - first - 1));
    options.early_stopping = name.substr(last + 1, name.size() - 4 - last - 1);
    const at::Tensor scores = golden_.at(name.substr(0, name.size() - 4) + ".scores");
    for (int64_t i = 0; i < prompts_.size(0); ++i) {
      auto made = generate(*decoder_, prompt_of(prompts_[i], {kEndOfText}), options);
      ASSERT_EQ(static_cast<int64_t>(made.size()), options.num_beams) << name;
      for (int64_t b = 0; b < options.num_beams; ++b) {
        const Generation& one = made[static_cast<size_t>(b)];
        EXPECT_EQ(one.ids(), ids_of(expected[i][b])) << name << " prompt " << i << " beam " << b;
        const int64_t place = i * options.num_beams + b;
        const double score = scores.flatten()[place].item<double>();
        EXPECT_NEAR(one.score, score, 1e-6 * std::max(100.0, std::abs(score))) << name;
      }
    }
    ++searches;
  }
  const std::set<std::string> with_beams = {"gpt2", "llama", "qwen3_moe"};
  EXPECT_EQ(searches, with_beams.count(GetParam()) ? 6 : 0);
}

INSTANTIATE_TEST_SUITE_P(Folders, GeneratesAs, testing::ValuesIn(tests::entries_of(kFolder)),
                         [](const auto& info) { return info.param; });

class Generate : public testing::Test {
 protected:
  Generate() : decoder_(models::CausalLm::Config::tiny()) {
    decoder_.initialize(3);
    // Scores far enough apart for greedy and sampled texts to differ.
    for (auto& [name, tensor] : decoder_.state_dict()) {
      if (name == "model.embed_tokens.weight") tensor.mul_(20);
    }
    prompt_.ids = {3, 9, 27};
  }
  std::vector<Generation> run(const OnToken& on_token = {}, std::stop_token cancel = {}) {
    return generate(decoder_, prompt_, options_, on_token, cancel);
  }
  models::CausalLm decoder_;
  Prompt prompt_;
  GenerateOptions options_;
};

TEST_F(Generate, SamplesBySeed) {
  options_.max_new_tokens = 20;
  options_.temperature = 1.5;
  options_.num_return_sequences = 3;
  auto first = run(), same = run();
  options_.seed = 1;
  auto other = run();
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(first[i].ids(), same[i].ids());
  EXPECT_NE(first[0].ids(), other[0].ids());
  EXPECT_NE(first[0].ids(), first[1].ids());
  // A top-k of one leaves the greedy text, at any temperature.
  options_.num_return_sequences = 1;
  options_.top_k = 1;
  auto sharp = run();
  options_.temperature = 0;
  EXPECT_EQ(sharp[0].ids(), run()[0].ids());
}

TEST_F(Generate, TellsLogProbabilities) {
  options_.max_new_tokens = 5;
  options_.logprobs = 4;
  auto made = run();
  double sum = 0;
  for (const GeneratedToken& token : made[0].tokens) {
    ASSERT_EQ(token.top.size(), 4U);
    EXPECT_EQ(token.top[0].first, token.id);  // greedy
    EXPECT_EQ(token.top[0].second, token.logprob);
    EXPECT_GE(token.top[0].second, token.top[1].second);
    EXPECT_LE(token.logprob, 0);
    sum += token.logprob;
  }
  EXPECT_DOUBLE_EQ(made[0].score, sum);
  // They are the model's own: of the whole text in one pass.
  std::vector<int64_t> all = prompt_.ids;
  for (int64_t id : made[0].ids()) all.push_back(id);
  at::Tensor logits =
      decoder_.forward({{"input_ids", at::tensor(all, at::kLong).unsqueeze(0)}}).at("logits")[0];
  for (size_t i = 0; i < 5; ++i) {
    const auto at = static_cast<int64_t>(prompt_.ids.size() + i);
    EXPECT_NEAR(logits[at - 1].log_softmax(-1)[all[static_cast<size_t>(at)]].item<double>(),
                made[0].tokens[i].logprob, 1e-4);
  }
}

TEST_F(Generate, EndsWhereItShould) {
  options_.max_new_tokens = 12;
  auto free = run()[0].ids();
  ASSERT_EQ(free.size(), 12U);
  prompt_.end_of_text = {free[4]};
  const auto first =
      static_cast<size_t>(std::find(free.begin(), free.end(), free[4]) - free.begin());
  auto made = run();
  EXPECT_EQ(made[0].finish, Finish::kStop);
  EXPECT_EQ(made[0].ids(),
            std::vector<int64_t>(free.begin(), free.begin() + static_cast<long>(first)));
  options_.min_new_tokens = 10;
  EXPECT_GE(run()[0].ids().size(), 10U);
  options_.min_new_tokens = 0;
  options_.ignore_eos = true;
  EXPECT_EQ(run()[0].ids(), free);
}

TEST_F(Generate, IsCancelled) {
  options_.max_new_tokens = 12;
  int seen = 0;
  auto made = run([&](const GeneratedToken&) { return ++seen < 3; });
  EXPECT_EQ(made[0].finish, Finish::kCancelled);
  EXPECT_EQ(made[0].tokens.size(), 3U);
  std::stop_source stop;
  made = run(
      [&](const GeneratedToken&) {
        stop.request_stop();
        return true;
      },
      stop.get_token());
  EXPECT_EQ(made[0].finish, Finish::kCancelled);
  EXPECT_EQ(made[0].tokens.size(), 1U);
  options_.num_beams = 3;
  EXPECT_EQ(run({}, stop.get_token())[0].finish, Finish::kCancelled);
}

TEST_F(Generate, StopsAtTheModelsLongestText) {
  options_.max_new_tokens = 2048;
  auto made = run();
  EXPECT_EQ(made[0].tokens.size() + prompt_.ids.size(), 64U);
  EXPECT_EQ(made[0].finish, Finish::kLength);
  prompt_.ids.assign(64, 3);
  EXPECT_THROW(run(), Error);
  prompt_.ids.clear();
  EXPECT_THROW(run(), Error);
}

TEST_F(Generate, WritesTwoThousandTokens) {
  auto config = models::CausalLm::Config::tiny();
  config.max_position_embeddings = 4096;
  models::CausalLm decoder(config);
  decoder.initialize(4);
  options_.max_new_tokens = 2048;
  auto made = generate(decoder, prompt_, options_);
  ASSERT_EQ(made[0].tokens.size(), 2048U);
  // The cache grew several times; the last tokens are still those of the whole text in one pass.
  std::vector<int64_t> all = prompt_.ids;
  for (int64_t id : made[0].ids()) all.push_back(id);
  all.pop_back();
  at::Tensor logits =
      decoder.forward({{"input_ids", at::tensor(all, at::kLong).unsqueeze(0)}}).at("logits")[0];
  at::Tensor own = logits.narrow(0, logits.size(0) - 100, 100).log_softmax(-1);
  for (int64_t i = 0; i < 100; ++i) {
    const GeneratedToken& token = made[0].tokens[static_cast<size_t>(2048 - 100 + i)];
    EXPECT_NEAR(own[i][token.id].item<double>(), token.logprob, 1e-4);
    EXPECT_NEAR(own[i].max().item<double>(), token.logprob, 1e-4);
  }
}

TEST_F(Generate, ContinuesAPrefixOfEmbeddings) {
  options_.max_new_tokens = 6;
  auto plain = run()[0].ids();
  Prompt embedded;
  embedded.prefix = decoder_.embed(at::tensor({3, 9}, at::kLong).unsqueeze(0))[0];
  embedded.ids = {27};
  EXPECT_EQ(generate(decoder_, embedded, options_)[0].ids(), plain);
  options_.num_beams = 2;
  EXPECT_EQ(generate(decoder_, embedded, options_)[0].ids(), run()[0].ids());
}

/// Ragged prompts side by side, some behind a prefix, texts that end at different times.
TEST_F(Generate, WritesABatchAsOneByOne) {
  std::vector<Prompt> prompts;
  at::Tensor prefix = at::randn({3, 16}, at::detail::createCPUGenerator(5));
  for (int64_t i = 0; i < 6; ++i) {
    Prompt prompt;
    for (int64_t j = 0; j <= (i * 5) % 7; ++j) prompt.ids.push_back((7 * i + 11 * j) % 67);
    if (i % 3 == 1) prompt.prefix = prefix.narrow(0, 0, 1 + i / 3);
    if (i % 3 == 2)
      prompt.embeddings = decoder_.embed(at::tensor(prompt.ids, at::kLong).unsqueeze(0))[0] * 0.5;
    prompts.push_back(std::move(prompt));
  }
  for (double temperature : {0.0, 1.2}) {
    options_.max_new_tokens = 12;
    options_.temperature = temperature;
    options_.repetition_penalty = 1.1;
    for (Prompt& prompt : prompts) prompt.end_of_text.clear();
    auto free = generate_batch(decoder_, prompts, options_);
    prompts[0].end_of_text = {free[0].ids()[3]};
    prompts[4].end_of_text = {free[4].ids()[1]};
    auto together = generate_batch(decoder_, prompts, options_);
    size_t shortest = 12;
    ASSERT_EQ(together.size(), prompts.size());
    for (size_t i = 0; i < prompts.size(); ++i) {
      auto alone = generate(decoder_, prompts[i], options_)[0];
      EXPECT_EQ(together[i].ids(), alone.ids()) << i << " at " << temperature;
      EXPECT_EQ(together[i].finish, alone.finish) << i;
      EXPECT_NEAR(together[i].score, alone.score, 1e-3) << i;
      shortest = std::min(shortest, together[i].tokens.size());
    }
    EXPECT_LT(shortest, 4U);
  }
  options_ = {};
  options_.max_new_tokens = 100;  // more than fit beside the longest: one by one
  EXPECT_EQ(generate_batch(decoder_, prompts, options_)[0].ids(),
            generate(decoder_, prompts[0], options_)[0].ids());
  options_.num_beams = options_.num_return_sequences = 2;
  EXPECT_THROW(generate_batch(decoder_, prompts, options_), Error);
  EXPECT_TRUE(generate_batch(decoder_, {}, {}).empty());
}

class GeneratesFromFeatures : public testing::TestWithParam<std::string> {};

/// Pictures and sounds at the places of their placeholders, against transformers' generate(): alone
/// and as a batch.
TEST_P(GeneratesFromFeatures, AsTheReference) {
  const std::string dir = PLAIT_SOURCE_DIR "/tests/golden/published_multimodal/" + GetParam();
  auto model = models::load_published_multimodal(dir);
  const TensorMap golden = load_safetensors(dir + "/expected.safetensors");
  GenerateOptions options;
  options.max_new_tokens = 16;
  std::vector<Prompt> prompts;
  for (int64_t i = 0; i < 2; ++i) {
    TensorMap own;
    for (const auto& [name, tensor] : golden) {
      if (name.starts_with("inputs.")) own[name.substr(7)] = tensor.narrow(0, i, 1);
    }
    const at::Tensor ids = own.at("input_ids").index({own.at("attention_mask").to(at::kBool)});
    Prompt prompt = prompt_of(ids);
    prompt.embeddings = model->embed(ids.unsqueeze(0), model->features(own).flat())[0];
    EXPECT_EQ(generate(*model->decoder(), prompt, options)[0].ids(), ids_of(golden.at("greedy")[i]))
        << "row " << i;
    prompts.push_back(std::move(prompt));
  }
  auto together = generate_batch(*model->decoder(), prompts, options);
  for (int64_t i = 0; i < 2; ++i)
    EXPECT_EQ(together[static_cast<size_t>(i)].ids(), ids_of(golden.at("greedy")[i])) << i;
}

INSTANTIATE_TEST_SUITE_P(Folders, GeneratesFromFeatures,
                         testing::Values("llava", "llava_siglip", "qwen2_audio"),
                         [](const auto& info) { return info.param; });

TEST_F(Generate, RefusesOptionsThatCannotBe) {
  options_.num_beams = 4;
  options_.temperature = 1;
  EXPECT_THROW(run(), Error);
  options_ = {};
  options_.num_return_sequences = 2;
  EXPECT_THROW(run(), Error);
  options_ = {};
  options_.stop = {""};
  EXPECT_THROW(run(), Error);
  options_ = {};
  options_.min_new_tokens = 1000;
  EXPECT_THROW(run(), Error);
}

}  // namespace
}  // namespace plait::runtime
