// Compute that follows importance: what is planned, what is realised, and what cannot be reached.
#include "plait/api/compute_plan.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "../core/expect_error.h"
#include "plait/api/model_card.h"
#include "plait/api/recipe.h"
#include "plait/api/size_encoders.h"
#include "plait/core/parallel.h"

namespace plait::api {
namespace {

using tests::expect_error;

/// A class that the rhythm shows, nothing that the noise does; pictures and words of many lengths.
std::vector<Sample> samples(int count, uint64_t seed) {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  std::vector<Sample> out(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) {
    Sample& s = out[static_cast<size_t>(i)];
    const bool fast = i % 2;
    s.id = std::to_string(seed) + "-" + std::to_string(i);
    at::Tensor time = at::arange(64, at::kFloat).unsqueeze(1);
    s.streams["rhythm"] = at::sin(time * (fast ? 0.9 : 0.3)) + 0.1 * at::randn({64, 1}, generator);
    s.streams["noise"] = at::randn({64, 1}, generator);
    s.streams["picture"] = at::randint(0, 255, {40, 40, 3}, generator, at::kByte);
    s.streams["voice"] = Waveform{0.1 * at::randn({8000 + 400 * (i % 7)}, generator), 16000};
    std::string words = "a";
    for (int w = 0; w < i % 9; ++w) words += " red apple";
    s.streams["words"] = words;
    s.labels["category"] = fast ? "fast" : "slow";
  }
  return out;
}

data::DatasetSplits splits() {
  data::DatasetSplits out;
  out.classes = {"fast", "slow"};
  out.train = samples(48, 1);
  out.validation = samples(24, 2);
  out.test = samples(40, 3);
  return out;
}

const char* const kStreams[][2] = {
    {"picture",
     R"({"encoder": {"type": "picture_net", "channels": [16, 32, 64], "stem_channels": 8},
                    "processor": {"type": "image", "size": 64}})"},
    {"voice", R"({"encoder": {"type": "temporal_audio", "num_mel_bins": 16, "hidden_size": 64,
                              "num_hidden_layers": 2, "intermediate_size": 128},
                  "processor": {"type": "log_mel", "mels": 16, "seconds": 1}})"},
    {"words", R"({"encoder": {"type": "bert", "vocab_size": 8000, "hidden_size": 64,
                              "num_hidden_layers": 4, "num_attention_heads": 4,
                              "intermediate_size": 192, "max_position_embeddings": 64},
                  "processor": {"type": "text", "max_length": 32}})"},
    {"rhythm", R"({"encoder": {"type": "patch_series", "hidden_size": 32, "num_hidden_layers": 2,
                               "num_attention_heads": 4, "intermediate_size": 64, "stem_size": 16,
                               "patch_length": 8, "max_length": 64},
                   "processor": {"type": "series", "channels": 1}})"},
    {"noise", R"({"encoder": {"type": "patch_series", "hidden_size": 32, "num_hidden_layers": 2,
                              "num_attention_heads": 4, "intermediate_size": 64, "stem_size": 16,
                              "patch_length": 8, "max_length": 64},
                  "processor": {"type": "series", "channels": 1}})"}};

Recipe recipe_of(const std::vector<std::string>& streams) {
  Recipe r;
  r.dir = std::string(PLAIT_SOURCE_DIR) + "/recipes/plait-base";
  r.damage = 0;
  r.damaged_copies = 0;
  r.model = Json::parse(
      R"({"width": 16, "fusion": {"type": "drg"}, "tasks": {"category": {"type": "classification"}}})");
  for (const auto& [name, config] : kStreams) {
    if (std::find(streams.begin(), streams.end(), name) != streams.end())
      r.model["streams"][name] = Json::parse(config);
  }
  r.training = Json::object({{"num_train_epochs", 12},
                             {"learning_rate", 0.003},
                             {"modality_dropout", 0.3},
                             {"per_device_train_batch_size", 16}});
  return r;
}

/// Asks for a split; what is realised on items that the plan was not made on is within 2 points.
void expect_realised(const std::map<std::string, double>& asked) {
  std::vector<std::string> streams;
  Json share = Json::object({});
  for (const auto& [name, value] : asked) {
    streams.push_back(name);
    share[name] = value;
  }
  Recipe recipe = recipe_of(streams);
  recipe.compute = Json::object({{"share", share}});
  auto model = build_model(recipe, splits());
  const auto realised = realised_split(*model, splits().test);
  for (const auto& [name, value] : asked)
    EXPECT_NEAR(realised.at(name), value, 0.02)
        << share.dump() << " " << model->config().at("compute").dump();
}

TEST(ComputePlan, TheRealisedSplitIsTheOneAskedFor) {
  SerialScope serial;
  expect_realised({{"picture", 0.85}, {"voice", 0.15}});
  expect_realised({{"picture", 0.15}, {"voice", 0.85}});
  expect_realised({{"picture", 0.5}, {"words", 0.5}});
  expect_realised({{"words", 0.97}, {"rhythm", 0.03}});
  expect_realised({{"picture", 0.6}, {"voice", 0.3}, {"words", 0.1}});
  expect_realised(
      {{"picture", 0.1}, {"voice", 0.2}, {"words", 0.3}, {"rhythm", 0.2}, {"noise", 0.2}});
}

TEST(ComputePlan, KeepsWithinABudgetAndChangesOnlyWhatItMay) {
  SerialScope serial;
  Recipe recipe = recipe_of({"picture", "words"});
  const auto before = encoder_costs(*build_model(recipe, splits()), splits().train);
  const double budget = 0.3 * (before[0] + before[1]);
  recipe.compute = Json::parse(R"({"share": {"picture": 70, "words": 30}})");
  recipe.compute["multiply_adds"] = budget;
  auto model = build_model(recipe, splits());
  const Json& plan = model->config().at("compute");
  EXPECT_LE(plan.at("multiply_adds").as_double(), budget * 1.001);
  EXPECT_GT(plan.at("multiply_adds").as_double(), budget * 0.8);
  EXPECT_NEAR(realised_split(*model, splits().test).at("picture"), 0.7, 0.02);
  recipe.compute["choose"] = Json::array({"depth", "width"});
  recipe.compute["multiply_adds"] = 0;
  model = build_model(recipe, splits());
  for (const auto& [name, stream] : model->config().at("compute").at("streams").members())
    EXPECT_EQ(stream.at("resolution").as_double(), 1) << name;
}

TEST(ComputePlan, SaysWhatCanBeReached) {
  Recipe recipe = recipe_of({"picture", "words"});
  recipe.compute =
      Json::parse(R"({"share": {"picture": 0.0002, "words": 0.9998}, "tolerance": 0.001,
                                   "choose": ["depth"]})");
  expect_error(ErrorCode::kInvalidArgument, "reachable alone: picture",
               [&] { build_model(recipe, splits()); });
  recipe.compute = Json::parse(R"({"share": {"picture": 1, "words": 1}, "multiply_adds": 1000})");
  expect_error(ErrorCode::kInvalidArgument, "the smallest sizes need",
               [&] { build_model(recipe, splits()); });
  for (const char* bad :
       {R"({"share": {"picture": 1}})", R"({"share": {"picture": 1, "words": 0}})",
        R"({"share": {"picture": 1, "words": 1, "smell": 1}})", R"({"share": 3})",
        R"({"share": "importanc"})", R"({"share": null, "choose": ["height"]})",
        R"({"shares": 1})"}) {
    recipe.compute = Json::parse(bad);
    expect_error(ErrorCode::kInvalidArgument, "expected", [&] { build_model(recipe, splits()); });
  }
  recipe.compute = Json::parse(R"({"share": {"picture": 1, "words": 1}})");
  data::DatasetSplits none;
  none.classes = {"fast", "slow"};
  expect_error(ErrorCode::kInvalidArgument, "training items", [&] { build_model(recipe, none); });
}

TEST(ComputePlan, PublishedEncodersLoseTheirLastLayersOnly) {
  const Json encoder = Json::parse(R"({"type": "whisper", "encoder_layers": 4, "d_model": 64,
                                       "encoder_attention_heads": 4, "encoder_ffn_dim": 128})");
  const Json processor = Json::parse(R"({"type": "whisper"})");
  auto sizes = encoder_sizes(encoder, processor, {.pretrained = true});
  ASSERT_EQ(sizes.size(), 4u);
  EXPECT_EQ(sizes.front().encoder, encoder);
  for (const EncoderSize& size : sizes) {
    EXPECT_LE(size.depth, 1);
    EXPECT_EQ(size.width, 1);
    EXPECT_EQ(size.processor, processor);
  }
  EXPECT_GT(encoder_sizes(encoder, processor).size(), 20u);
}

TEST(ComputePlan, ComputeFollowsImportance) {
  SerialScope serial;
  Recipe recipe = recipe_of({"rhythm", "noise"});
  recipe.compute = Json::parse(R"({"share": "importance", "floor": 0.1, "pilot": 1.0})");
  auto model = build_model(recipe, splits());
  const Json plan = model->config().at("compute");
  EXPECT_GT(plan.at("importance").at("rhythm").as_double(), 0.3);
  EXPECT_LT(std::abs(plan.at("importance").at("noise").as_double()), 0.15);
  const auto realised = realised_split(*model, splits().test);
  EXPECT_NEAR(realised.at("noise"), plan.at("streams").at("noise").at("asked").as_double(), 0.02);
  EXPECT_GT(realised.at("rhythm"), 0.6);
  // It is kept with the model, and in words.
  note_realised_split(*model, splits().test);
  tests::TemporaryFolder dir;
  model->mark_trained();
  model->save_pretrained(dir.path());
  auto again = MultimodalModel::from_pretrained(dir.path());
  EXPECT_EQ(again->config().at("compute"), model->config().at("compute"));
  EXPECT_EQ(plan_table(again->config()).size(), 2u);
  const std::string card = make_card(*model, recipe, {}, Json::object({}));
  EXPECT_NE(card.find("## Compute"), std::string::npos);
  EXPECT_NE(card.find("follows the errors"), std::string::npos);
}

TEST(Shapley, SharesTheWorthOfAllFairly) {
  // Two that need each other, a third that adds 1 alone.
  std::vector<double> worth(8);
  for (size_t s = 0; s < 8; ++s) worth[s] = ((s & 3) == 3 ? 6 : 0) + (s & 4 ? 1 : 0);
  EXPECT_EQ(shapley_values(worth), (std::vector<double>{3, 3, 1}));
  // Majority of three with one vote, one of them with two.
  const std::vector<double> votes = {0, 0, 0, 1, 0, 1, 1, 1};
  for (double v : shapley_values(votes)) EXPECT_NEAR(v, 1.0 / 3, 1e-12);
  std::vector<double> random(64);
  for (size_t s = 1; s < 64; ++s) random[s] = std::sin(static_cast<double>(7 * s));
  const auto values = shapley_values(random);
  EXPECT_NEAR(std::accumulate(values.begin(), values.end(), 0.0), random.back(), 1e-12);
  expect_error(ErrorCode::kInvalidArgument, "coalition", [] { shapley_values({1, 2, 3}); });
}

TEST(Shapley, EverybodyKeepsTheFloor) {
  auto sum = [](const std::map<std::string, double>& shares) {
    double out = 0;
    for (const auto& [name, share] : shares) out += share;
    return out;
  };
  auto shares = importance_shares({{"a", 0.4}, {"b", 0.1}, {"c", -0.02}}, 0.05);
  EXPECT_NEAR(sum(shares), 1, 1e-12);
  EXPECT_NEAR(shares.at("c"), 0.05, 1e-12);
  EXPECT_NEAR(shares.at("a") / shares.at("b"), 4, 1e-9);
  shares = importance_shares({{"a", 0.9}, {"b", 0.055}, {"c", 0.0}}, 0.057);
  EXPECT_NEAR(sum(shares), 1, 1e-12);
  EXPECT_GE(shares.at("b"), 0.057 - 1e-12);
  shares = importance_shares({{"a", 0.0}, {"b", -1.0}}, 0.1);
  EXPECT_NEAR(shares.at("a"), 0.5, 1e-12);
  shares = importance_shares({{"a", 1.0}, {"b", 0.0}, {"c", 0.0}}, 0.5);
  EXPECT_NEAR(shares.at("a"), 1.0 / 3, 1e-12);
}

TEST(Shares, AreReadFromTheCommandLine) {
  EXPECT_EQ(parse_shares("image=0.85,speech=0.15"),
            Json::parse(R"({"image": 0.85, "speech": 0.15})"));
  EXPECT_EQ(parse_shares("importance"), Json("importance"));
  for (const char* bad : {"image", "image=", "=3", "image=x", "image=1;speech=2"})
    expect_error(ErrorCode::kInvalidArgument, "expected image=0.85", [&] { parse_shares(bad); });
  const auto shares = read_shares(Json::parse(R"({"a": 85, "b": 15})"), {"a", "b"});
  EXPECT_NEAR(shares.at("a"), 0.85, 1e-12);
}

}  // namespace
}  // namespace plait::api
