// Conditions, damage plans, calibration over subsets and the report, on a network of decision
// fusion over known features.
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "plait/api/experiment.h"
#include "plait/api/features.h"
#include "plait/api/report.h"
#include "plait/core/error.h"
#include "plait/models/registry.h"

namespace plait::api {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<Sample> numbered_samples(int count) {
  std::vector<Sample> out(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) {
    out[static_cast<size_t>(i)].id = "item-" + std::to_string(i);
    out[static_cast<size_t>(i)].streams["text"] =
        "a red fox jumps over lazy dog number " + std::to_string(i);
  }
  return out;
}

TEST(Damage, FollowsTheItemNotItsPlace) {
  auto samples = numbered_samples(6);
  DamagePlan plan{.seed = 3, .min_severity = 0.2, .max_severity = 0.9, .wrong = 0, .kinds = {}};
  Damage there = draw_damage(plan, Modality::kText, "text", samples, 4);
  std::swap(samples[4], samples[1]);
  Damage here = draw_damage(plan, Modality::kText, "text", samples, 1);
  EXPECT_EQ(there.kind, here.kind);
  EXPECT_EQ(there.severity, here.severity);
  EXPECT_GE(here.severity, 0.2);
  EXPECT_LE(here.severity, 0.9);
}

TEST(Damage, NeedsAModalityThatCanBeDamaged) {
  DamagePlan plan{.seed = 1, .wrong = 0, .kinds = {}};
  EXPECT_THROW(draw_damage(plan, Modality::kGraph, "g", numbered_samples(2), 0), Error);
  EXPECT_NO_THROW(draw_damage(plan, Modality::kTable, "t", numbered_samples(2), 0));
}

TEST(Damage, WrongIsAnotherItemsValue) {
  auto samples = numbered_samples(5);
  DamagePlan plan{.seed = 1, .wrong = 1.0, .kinds = {}};
  for (size_t i = 0; i < samples.size(); ++i) {
    auto got = std::get<std::string>(damaged_value(samples, i, "text", Modality::kText, plan));
    EXPECT_NE(got, std::get<std::string>(samples[i].streams["text"]));
    EXPECT_THAT(got, HasSubstr("a red fox"));
  }
  samples[2].streams.clear();
  EXPECT_THROW(damaged_value(samples, 2, "text", Modality::kText, plan), Error);
}

TEST(Conditions, CoverEveryStreamOnceAndTwoWays) {
  std::vector<std::string> names;
  for (const Condition& c : standard_conditions({"a", "b"})) names.push_back(c.name);
  EXPECT_THAT(names, ElementsAre("all", "only_a", "only_b", "without_a", "without_b", "damaged_a",
                                 "damaged_b"));
}

TEST(Targets, NamesAreIndicesAndMissingIsMinusOne) {
  auto samples = numbered_samples(3);
  samples[0].labels["kind"] = "y";
  samples[2].labels["kind"] = "x";
  EXPECT_TRUE(class_targets(samples, "kind", {"x", "y"}).equal(at::tensor({1, -1, 0}, at::kLong)));
  EXPECT_THROW(class_targets(samples, "kind", {"x"}), Error);
}

/// Two streams of features that carry the class with noise; variant 1 is noise alone.
std::shared_ptr<train::FeatureDataset> noisy_features(int64_t items, int64_t width, uint64_t seed) {
  at::Generator g = at::detail::createCPUGenerator(seed);
  at::Tensor target = at::randint(0, 3, {items}, g).to(at::kLong);
  std::map<std::string, std::vector<train::FeatureTable>> streams;
  for (const char* name : {"image", "sensor"}) {
    at::Tensor clean = at::one_hot(target, width).to(at::kFloat) * 3 + at::randn({items, width}, g);
    streams[name] = {
        {.tokens = {}, .mask = {}, .pooled = clean, .present = {}, .quality = {}, .inputs = {}},
        {.tokens = {},
         .mask = {},
         .pooled = at::randn({items, width}, g),
         .present = {},
         .quality = {},
         .inputs = {}}};
  }
  return std::make_shared<train::FeatureDataset>(streams, TensorMap{{"kind", target}});
}

TEST(Experiment, CalibrationCoversSubsetsAndNeverHurtsThem) {
  Json config = Json::object({{"width", 16}, {"dropout", 0.0}});
  for (const char* name : {"image", "sensor"}) {
    Json encoder =
        models::registry().at(std::string(name) == "image" ? "picture_net" : "patch_series").tiny;
    encoder["type"] = std::string(name) == "image" ? "picture_net" : "patch_series";
    config["streams"][name] = Json::object({{"encoder", encoder}, {"frozen", true}});
  }
  config["fusion"] = Json::object({{"type", "product"}});
  config["tasks"]["kind"] =
      Json::object({{"type", "classification"}, {"labels", Json::array({"a", "b", "c"})}});
  auto network = models::FusedNetwork::create(config);
  network->initialize(1);
  const int64_t width = network->encoder("image").width();
  ASSERT_EQ(width, network->encoder("sensor").width()) << "the tiny encoders share a width here";
  auto data = noisy_features(120, width, 5);

  Json calibration = fit_calibration(*network, "kind", *data);
  for (const char* subset : {"image", "sensor", "image+sensor"})
    EXPECT_TRUE(calibration.at("subsets").contains(subset)) << subset;
  for (const auto& [subset, row] : calibration.at("subsets").members()) {
    EXPECT_LE(row.at("nll_after").as_double(), row.at("nll_before").as_double() + 1e-6) << subset;
  }
  auto results = evaluate_conditions(*network, "kind", *data,
                                     standard_conditions(network->stream_names()), calibration);
  ASSERT_EQ(results.size(), 7u);
  for (const auto& r : results) {
    double total = 0;
    for (const auto& [stream, w] : r.weights) total += w;
    EXPECT_NEAR(total, 1.0, 1e-5) << r.name;
    EXPECT_LE((r.probabilities.sum(1) - 1).abs().max().item<double>(), 1e-6);
  }
  EXPECT_EQ(results[1].weights.at("sensor"), 0.0);
}

TEST(Experiment, EvaluationTellsHowEvenlyStreamsAreWeighed) {
  Json config = Json::object({{"width", 16}});
  for (const char* name : {"image", "sensor"}) {
    const std::string type = std::string(name) == "image" ? "picture_net" : "patch_series";
    Json encoder = models::registry().at(type).tiny;
    encoder["type"] = type;
    config["streams"][name] = Json::object({{"encoder", encoder}, {"frozen", true}});
  }
  config["fusion"] = Json::object({{"type", "mean"}});
  config["tasks"]["kind"] =
      Json::object({{"type", "classification"}, {"labels", Json::array({"a", "b", "c"})}});
  std::shared_ptr<models::FusedNetwork> network = models::FusedNetwork::create(config);
  network->initialize(1);
  auto data = noisy_features(30, network->encoder("image").width(), 5);
  FusedTrainable trainable(network);
  EXPECT_NEAR(trainable.evaluate(*data, 8).at("weight_entropy"), 1, 1e-5);
  // One stream alone leaves no choice.
  EXPECT_EQ(trainable.evaluate(*data->fix({}, {}, {"image"}), 8).count("weight_entropy"), 0u);
}

TEST(Report, EscapesAndStandsAlone) {
  Report report;
  report.title = "A <b> & \"c\"";
  report.streams = {"text"};
  report.conditions = {{"all", {{"accuracy", 0.5}, {"ece", 0.1}}, {{"text", 1.0}}}};
  report.items = {{"<script>alert(1)</script>", "x", {}}};
  std::string html = render_html(report);
  EXPECT_EQ(html.find("<script"), std::string::npos);
  EXPECT_THAT(html, HasSubstr("A &lt;b&gt; &amp; &quot;c&quot;"));
  EXPECT_THAT(html, HasSubstr("50.0 %"));
  EXPECT_EQ(html.find("http"), std::string::npos);
}

TEST(Report, Base64AsRfc4648) {
  EXPECT_EQ(data_uri("t/p", ""), "data:t/p;base64,");
  EXPECT_EQ(data_uri("t/p", "f"), "data:t/p;base64,Zg==");
  EXPECT_EQ(data_uri("t/p", "fo"), "data:t/p;base64,Zm8=");
  EXPECT_EQ(data_uri("t/p", "foobar"), "data:t/p;base64,Zm9vYmFy");
}

}  // namespace
}  // namespace plait::api
