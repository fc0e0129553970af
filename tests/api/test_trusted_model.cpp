// The trust fusion inside a model: fitted by train_model, saved, explained, routed by a budget.
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "plait/api/experiment.h"
#include "plait/api/model_card.h"
#include "plait/api/recipe.h"
#include "plait/core/error.h"
#include "plait/train/metrics.h"

namespace plait::api {
namespace {

using ::testing::HasSubstr;

constexpr int kWidth = 6;
const std::vector<std::string> kStreams = {"left", "middle", "right"};

/// Three views of three classes; the first tells them apart best.
std::vector<Sample> samples(int count, uint64_t seed) {
  auto means_from = at::detail::createCPUGenerator(7);
  auto generator = at::detail::createCPUGenerator(seed);
  std::map<std::string, at::Tensor> means;
  double apart = 2.0;
  for (const std::string& name : kStreams) {
    means[name] = at::randn({3, kWidth}, means_from, at::kDouble) * apart;
    apart *= 0.75;
  }
  std::vector<Sample> out(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) {
    Sample& s = out[static_cast<size_t>(i)];
    s.id = std::to_string(seed) + "-" + std::to_string(i);
    const int64_t k = at::randint(3, {1}, generator).item<int64_t>();
    for (const std::string& name : kStreams)
      s.streams[name] = means[name][k] + at::randn({kWidth}, generator, at::kDouble);
    s.labels["category"] = std::string(1, static_cast<char>('a' + k));
  }
  return out;
}

Recipe recipe() {
  Recipe r;
  r.damage = 0.3;
  r.damaged_copies = 1;
  r.model = Json::parse(R"({"width": 16, "fusion": {"type": "concatenation"},
    "tasks": {"category": {"type": "classification"}}})");
  for (const std::string& name : kStreams) {
    Json part = Json::object({{"type", "vector"}, {"features", kWidth}});
    r.model["streams"][name] =
        Json::object({{"encoder", part}, {"processor", part}, {"frozen", true}});
  }
  r.training = Json::object(
      {{"num_train_epochs", 8}, {"learning_rate", 0.01}, {"per_device_train_batch_size", 32}});
  return r;
}

data::DatasetSplits splits() {
  data::DatasetSplits out;
  out.classes = {"a", "b", "c"};
  out.train = samples(240, 1);
  out.validation = samples(120, 2);
  out.test = samples(200, 3);
  return out;
}

MultimodalModel& model() {
  static const std::shared_ptr<MultimodalModel> trained = [] {
    auto m = build_model(recipe(), splits());
    RecipeData data = prepare_features(*m, recipe(), splits(), nullptr);
    train_model(*m, recipe(), data, "");
    m->set_card(make_card(*m, recipe(), {}, Json::object({})));
    return m;
  }();
  return *trained;
}

double accuracy_of(const std::vector<Sample>& items, const PredictOptions& options = {}) {
  double right = 0;
  std::vector<Prediction> answers = model().predict_batch(items, options);
  for (size_t i = 0; i < items.size(); ++i)
    right += answers[i].label == items[i].labels.at("category").as_string();
  return right / static_cast<double>(items.size());
}

TEST(TrustedModel, IsFittedByTrainingAndAnswers) {
  auto trust = model().trust("category");
  ASSERT_TRUE(trust);
  EXPECT_EQ(trust->choices().size(), 7u);
  Prediction p = model().predict(splits().test.front().streams);
  EXPECT_FALSE(p.decided_by.empty());
  double total = 0;
  for (const auto& [name, w] : p.modality_weights) total += w;
  EXPECT_NEAR(total, 1, 1e-5);
  EXPECT_THAT(p.prediction_set, ::testing::Contains(p.label));
  EXPECT_THAT(model().card(), HasSubstr("## Trust"));
}

TEST(TrustedModel, WithstandsAStreamThatBecomesNoise) {
  std::vector<Sample> test = splits().test, broken = test, without = test;
  auto generator = at::detail::createCPUGenerator(5);
  for (size_t i = 0; i < test.size(); ++i) {
    broken[i].streams["left"] = 60 * at::randn({kWidth}, generator, at::kDouble);
    without[i].streams.erase("left");
  }
  EXPECT_GT(accuracy_of(test), accuracy_of(without) - 0.01);
  EXPECT_GT(accuracy_of(broken), accuracy_of(without) - 0.03);
  for (const Prediction& p : model().predict_batch(broken))
    EXPECT_LT(p.modality_weights.at("left"), 0.5);
}

TEST(TrustedModel, ExplainsInNumbersAndWords) {
  Sample sample = splits().test.front();
  auto generator = at::detail::createCPUGenerator(6);
  sample.streams["left"] = 60 * at::randn({kWidth}, generator, at::kDouble);
  PredictOptions options;
  options.explain = true;
  Prediction p = model().predict(sample.streams, options);
  const Explanation& e = p.explain();
  EXPECT_EQ(e.label, p.label);
  EXPECT_NEAR(e.confidence, p.confidence, 1e-5);
  EXPECT_NE(e.runner_up, e.label);
  EXPECT_GT(e.streams.at("left").breakage, e.streams.at("middle").breakage);
  ASSERT_FALSE(e.streams.at("left").reasons.empty());
  EXPECT_THAT(e.summary().front(), HasSubstr("left: "));
  // The counterfactual is what predict itself says without the stream.
  for (const std::string& name : kStreams) {
    Sample less = sample;
    less.streams.erase(name);
    Prediction counterfactual = model().predict(less.streams);
    if (counterfactual.decided_by == "joint") continue;
    EXPECT_EQ(e.streams.at(name).without, counterfactual.label) << name;
    EXPECT_NEAR(e.streams.at(name).without_confidence, counterfactual.confidence, 1e-4) << name;
  }
  EXPECT_TRUE(p.to_json().at("explanation").contains("streams"));
  EXPECT_THROW(model().predict(sample.streams).explain(), Error);
  Prediction alone = model().predict({{"left", sample.streams.at("left")}}, options);
  EXPECT_TRUE(alone.explain().streams.at("left").without.empty());
  EXPECT_FALSE(alone.explain().streams.at("right").present);
}

// Explanations go by the tensors that the fusion was fitted with, other answers by plain loops. A
// regression on so few items has weights of a thousand and more that all but cancel out: both are
// as far from exact sums as they may be from each other here.
TEST(TrustedModel, AnswersAlikeWhoeverReckons) {
  std::vector<Sample> test = splits().test;
  test.resize(60);
  auto generator = at::detail::createCPUGenerator(8);
  for (size_t i = 0; i < test.size(); ++i) {
    // Every subset, one stream in three broken.
    for (size_t m = 0; m < kStreams.size(); ++m) {
      if (i % 3 == m)
        test[i].streams[kStreams[m]] = 8 * at::randn({kWidth}, generator, at::kDouble);
      if (!((i % 7 + 1) >> m & 1)) test[i].streams.erase(kStreams[m]);
    }
  }
  PredictOptions tensors, loops;
  tensors.explain = true;
  constexpr double kRounding = 3e-4;
  int other_sets = 0;
  for (bool by_class : {false, true}) {
    tensors.class_conditional = loops.class_conditional = by_class;
    const std::vector<Prediction> a = model().predict_batch(test, loops),
                                  b = model().predict_batch(test, tensors);
    for (size_t i = 0; i < test.size(); ++i) {
      EXPECT_EQ(a[i].label, b[i].label);
      EXPECT_EQ(a[i].decided_by, b[i].decided_by);
      EXPECT_EQ(a[i].abstain, b[i].abstain);
      for (const auto& [label, score] : b[i].scores)
        EXPECT_NEAR(a[i].scores.at(label), score, kRounding);
      for (const auto& [name, weight] : b[i].modality_weights)
        EXPECT_NEAR(a[i].modality_weights.at(name), weight, kRounding);
      other_sets += a[i].prediction_set != b[i].prediction_set;
    }
  }
  // A set's draw follows the third digit of the probabilities.
  EXPECT_LE(other_sets, 3);
}

TEST(TrustedModel, IsSavedAndLoadedWhole) {
  const std::string dir =
      (std::filesystem::temp_directory_path() / ("trusted-" + std::to_string(::getpid()))).string();
  model().save_pretrained(dir);
  auto again = MultimodalModel::from_pretrained(dir);
  ASSERT_TRUE(again->trust("category"));
  EXPECT_EQ(again->trust("category")->to_json().dump(),
            model().trust("category")->to_json().dump());
  std::vector<Sample> test = splits().test;
  std::vector<Prediction> a = model().predict_batch(test), b = again->predict_batch(test);
  for (size_t i = 0; i < test.size(); ++i) {
    EXPECT_EQ(a[i].decided_by, b[i].decided_by);
    EXPECT_NEAR(a[i].confidence, b[i].confidence, 1e-5);
  }
  // Saved again, and the networks in half precision: what is calibrated stays as it is, and a joint
  // expert that is not heard is left out.
  again->save_pretrained(dir, /*half=*/true);
  auto halved = MultimodalModel::from_pretrained(dir)->trust("category")->fusion().state_dict();
  const bool joint = model().trust("category")->fusion().joint_weight() > 0;
  for (const auto& [name, tensor] : model().trust("category")->fusion().state_dict()) {
    const bool of_joint = name.rfind("joint", 0) == 0;
    ASSERT_EQ(halved.count(name), of_joint && !joint ? 0u : 1u) << name;
    if (halved.count(name) == 0) continue;
    EXPECT_TRUE(of_joint ? tensor.allclose(halved.at(name), 1e-2, 1e-4)
                         : tensor.equal(halved.at(name)))
        << name;
  }
  Json calibration = Json::read(dir + "/calibration.json");
  calibration["category"].erase("trust");
  calibration.write(dir + "/calibration.json");
  EXPECT_THROW(MultimodalModel::from_pretrained(dir), Error);
  std::filesystem::remove_all(dir);
}

TEST(TrustedModel, SpendsNoMoreThanTheBudget) {
  const Sample sample = splits().test.front();
  const models::Route& route = model().trust("category")->route();
  ASSERT_EQ(route.order.size(), 3u);
  PredictOptions tight;
  tight.max_multiply_adds = 1;
  Prediction p = model().predict(sample.streams, tight);
  EXPECT_LE(p.skipped.size(), 2u);
  EXPECT_TRUE(p.missing.empty()) << "what was skipped is not missing";
  PredictOptions late;
  late.max_latency_ms = 1e-6;
  Prediction q = model().predict(sample.streams, late);
  EXPECT_EQ(q.skipped.size(), 2u);
  const std::string first = kStreams[static_cast<size_t>(route.order.front())];
  Prediction alone = model().predict({{first, sample.streams.at(first)}});
  EXPECT_EQ(q.label, alone.label);
  EXPECT_NEAR(q.confidence, alone.confidence, 1e-5);
}

TEST(TrustedModel, EarlyExitKeepsItsAccuracy) {
  PredictOptions early;
  early.early_exit = true;
  EXPECT_GT(accuracy_of(splits().test, early), accuracy_of(splits().test) - 0.03);
}

TEST(TrustedModel, WhoMayLoseMoreRunsLess) {
  auto spent = [](double loss) {
    PredictOptions options;
    options.early_exit = true;
    options.early_exit_loss = loss;
    double total = 0;
    for (const Prediction& p : model().predict_batch(splits().test, options))
      total += p.compute_share;
    return total / static_cast<double>(splits().test.size());
  };
  EXPECT_EQ(spent(0), 1);
  EXPECT_LE(spent(0.05), spent(0.005));
  PredictOptions none;
  none.early_exit = true;
  none.early_exit_loss = 1.5;
  EXPECT_THROW(model().predict(splits().test.front().streams, none), Error);
}

TEST(TrustedModel, AbstainsMoreForLessRisk) {
  int before = -1;
  for (double risk : {0.3, 0.1, 0.02}) {
    PredictOptions options;
    options.risk = risk;
    int abstained = 0;
    for (const Prediction& p : model().predict_batch(splits().test, options))
      abstained += p.abstain;
    EXPECT_GE(abstained, before) << risk;
    before = abstained;
  }
  PredictOptions none;
  none.risk = 0;
  EXPECT_THROW(model().predict(splits().test.front().streams, none), Error);
}

TEST(TrustedModel, AWrongFusionIsRefused) {
  auto other = build_model(with_only(recipe(), "left"), splits());
  EXPECT_THROW(other->set_trust("category", model().trust("category")), Error);
  PredictOptions options;
  options.explain = true;
  other->mark_trained();
  Sample sample = splits().test.front();
  EXPECT_THROW(other->predict({{"left", sample.streams.at("left")}}, options), Error);
  options.explain = false;
  options.early_exit = true;
  EXPECT_THROW(other->predict({{"left", sample.streams.at("left")}}, options), Error);
}

TEST(TrustedModel, EvaluatesThroughTheTrustFusion) {
  RecipeData data = prepare_features(model(), recipe(), splits(), nullptr);
  auto results =
      evaluate_conditions(model().network(), "category", *data.test, standard_conditions(kStreams),
                          Json(), model().trust("category").get());
  ASSERT_EQ(results.size(), 10u);
  EXPECT_NEAR(results.front().metrics.at("accuracy"), accuracy_of(splits().test), 1e-6);
}

}  // namespace
}  // namespace plait::api
