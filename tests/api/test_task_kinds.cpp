// Tasks of values and of labels in one model: fitted by train_model, saved, damaged, refused.
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "plait/api/experiment.h"
#include "plait/api/model_card.h"
#include "plait/api/recipe.h"
#include "plait/api/task_targets.h"
#include "plait/core/error.h"
#include "tests/api/kinds_data.h"

namespace plait::api {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

struct Trained {
  std::shared_ptr<MultimodalModel> model;
  RecipeData data;
};

const Trained& trained() {
  static const Trained kTrained = [] {
    Trained out;
    out.model = build_model(recipe(), splits());
    out.data = prepare_features(*out.model, recipe(), splits(), nullptr);
    train_model(*out.model, recipe(), out.data, "");
    out.model->set_card(make_card(*out.model, recipe(), {}, Json::object({})));
    return out;
  }();
  return kTrained;
}

MultimodalModel& model() { return *trained().model; }

struct Figures {
  double error = 0, covered = 0, width = 0, right = 0;
};

Figures figures(const std::vector<Sample>& items) {
  PredictOptions options;
  options.task = "load";
  options.coverage = 0.8;
  std::vector<Prediction> answers = model().predict_batch(items, options);
  options.task = "tags";
  std::vector<Prediction> tags = model().predict_batch(items, options);
  Figures out;
  const auto n = static_cast<double>(items.size());
  for (size_t i = 0; i < items.size(); ++i) {
    const double y = items[i].labels.at("load").as_double();
    const Prediction& p = answers[i];
    EXPECT_EQ(p.value.size(), 1u);
    EXPECT_EQ(p.value_low.size(), 1u);
    out.error += std::pow((p.value[0] - y) / 250, 2) / n;
    out.covered += (y >= p.value_low[0] && y <= p.value_high[0]) / n;
    out.width += (p.value_high[0] - p.value_low[0]) / 250 / n;
    const auto truth = items[i].labels.at("tags").as_strings();
    for (const std::string& tag : kTags) {
      const bool said = std::count(tags[i].labels->begin(), tags[i].labels->end(), tag) > 0;
      out.right += (said == (std::count(truth.begin(), truth.end(), tag) > 0)) / (3 * n);
    }
  }
  out.error = std::sqrt(out.error);
  return out;
}

TEST(TaskKinds, ValuesAndLabelsAreAnsweredWithTrust) {
  ASSERT_TRUE(model().trust("load"));
  ASSERT_TRUE(model().trust("tags"));
  const Figures clean = figures(splits().test);
  EXPECT_LT(clean.error, 0.45);
  EXPECT_GT(clean.covered, 0.72);
  EXPECT_GT(clean.right, 0.88);
  Prediction p = model().predict(splits().test.front().streams);
  EXPECT_EQ(p.task, "load");
  EXPECT_FALSE(p.decided_by.empty());
  EXPECT_GT(p.confidence, 0);
  EXPECT_GT(p.value_std[0], 0);
  EXPECT_LE(p.value_low[0], p.value_high[0]);
  const Json json = p.to_json();
  EXPECT_TRUE(json.at("labels").is_null() && json.at("class").is_null());
  EXPECT_NEAR(json.at("value_low").as_doubles()[0], p.value_low[0], 1e-9);
  EXPECT_THAT(model().card(), HasSubstr("Task `load`"));
}

TEST(TaskKinds, ABrokenStreamWidensIntervalsAndCostsLittle) {
  std::vector<Sample> test = splits().test, without = test;
  for (Sample& s : without) s.streams.erase("left");
  const Figures clean = figures(test), hurt = figures(broken()), known = figures(without);
  EXPECT_LT(hurt.error, known.error + 0.15);
  EXPECT_GT(hurt.right, known.right - 0.15);
  EXPECT_GT(hurt.covered, 0.72);
  EXPECT_GT(hurt.width, clean.width);
  double before = 0, after = 0;
  for (const Prediction& p : model().predict_batch(test)) before += p.modality_weights.at("left");
  for (const Prediction& p : model().predict_batch(broken()))
    after += p.modality_weights.at("left");
  EXPECT_LT(after, before);
}

TEST(TaskKinds, ExplainsValues) {
  const Sample item = broken().front();
  const Prediction p = model().predict(item.streams, explained("load"));
  const Explanation& e = p.explain();
  EXPECT_EQ(e.kind, TaskKind::kValues);
  EXPECT_EQ(e.decided_by, p.decided_by);
  EXPECT_NEAR(e.confidence, p.confidence, 1e-6);
  ASSERT_EQ(e.streams.size(), kStreams.size());
  double weights = 0;
  for (const std::string& name : kStreams) {
    const StreamExplanation& s = e.streams.at(name);
    ASSERT_EQ(s.parts.size(), 1u);
    EXPECT_LT(s.parts[0].low, s.parts[0].says);
    EXPECT_GT(s.parts[0].high, s.parts[0].says);
    EXPECT_NEAR(s.contribution, s.parts[0].contribution, 1e-9);
    EXPECT_GE(s.quality, 0);
    weights += s.weight;
    EXPECT_NEAR(s.weight, p.modality_weights.at(name), 1e-9);
    // The counterfactual is what predict itself says without the stream.
    Sample less = item;
    less.streams.erase(name);
    const Prediction without = model().predict(less.streams);
    if (without.decided_by == "joint") continue;
    EXPECT_NEAR(s.parts[0].without, without.value[0], 1e-2) << name;
    EXPECT_NEAR(s.without_confidence, without.confidence, 1e-4) << name;
    // What a stream says by itself is its answer alone, but for a temperature.
    EXPECT_FALSE(s.says.empty());
  }
  EXPECT_NEAR(weights, 1, 1e-5);
  EXPECT_GT(e.streams.at("left").breakage, e.streams.at("middle").breakage);
  ASSERT_FALSE(e.summary().empty());
  EXPECT_THAT(e.summary().front(), HasSubstr("left: "));
  const Json json = p.to_json().at("explanation").at("streams").at("left");
  EXPECT_TRUE(json.at("parts").items()[0].contains("mean"));
  EXPECT_EQ(json.at("without").at("value").items().size(), 1u);
  EXPECT_TRUE(json.at("otherwise").is_null());
  // A wider interval for more coverage, of each stream too.
  PredictOptions wide = explained("load"), narrow = wide;
  wide.coverage = 0.95, narrow.coverage = 0.5;
  const auto a = model().predict(item.streams, wide).explain().streams.at("right").parts[0];
  const auto b = model().predict(item.streams, narrow).explain().streams.at("right").parts[0];
  EXPECT_GT(a.high - a.low, b.high - b.low);
}

TEST(TaskKinds, ExplainsLabels) {
  const Sample item = broken()[1];
  const Prediction p = model().predict(item.streams, explained("tags"));
  const Explanation& e = p.explain();
  EXPECT_EQ(e.kind, TaskKind::kLabels);
  EXPECT_NEAR(e.confidence, p.confidence, 1e-6);
  for (const std::string& name : kStreams) {
    const StreamExplanation& s = e.streams.at(name);
    ASSERT_EQ(s.parts.size(), kTags.size());
    double sum = 0;
    Sample less = item;
    less.streams.erase(name);
    PredictOptions tags;
    tags.task = "tags";
    const Prediction without = model().predict(less.streams, tags);
    for (size_t k = 0; k < kTags.size(); ++k) {
      EXPECT_EQ(s.parts[k].label, kTags[k]);
      EXPECT_GE(s.parts[k].says, 0);
      EXPECT_LE(s.parts[k].says, 1);
      sum += s.parts[k].contribution;
      if (without.decided_by != "joint") {
        EXPECT_NEAR(s.parts[k].without, without.scores.at(kTags[k]), 1e-4) << name << kTags[k];
      }
    }
    EXPECT_NEAR(s.contribution, sum, 1e-9);
  }
  EXPECT_GT(e.streams.at("left").breakage, e.streams.at("middle").breakage);
  EXPECT_THAT(e.summary().front(), HasSubstr("left: "));
  const Json json = p.to_json().at("explanation").at("streams").at("left");
  EXPECT_EQ(json.at("parts").items()[2].at("label").as_string(), "wet");
  EXPECT_TRUE(json.at("without").at("labels").is_array());
  // Alone there is nothing without it.
  const Prediction alone = model().predict({{"left", item.streams.at("left")}}, explained("tags"));
  EXPECT_TRUE(alone.explain().streams.at("left").without.empty());
  EXPECT_TRUE(std::isnan(alone.explain().streams.at("left").parts[0].without));
  EXPECT_FALSE(alone.explain().streams.at("right").present);
  EXPECT_TRUE(alone.to_json().at("explanation").at("streams").at("right").is_null());
}

/// Two streams that say anything of `questions` with `classes` options each, by gates never
/// trained.
models::Evidence anything(const models::TrustFusion& fusion) {
  auto generator = at::detail::createCPUGenerator(12);
  models::Evidence e;
  e.log_probabilities = fusion.normalise(2 * at::randn({1, 2, fusion.options()}, generator));
  e.p_value = at::full({1, 2}, 0.5);
  e.unusual = e.excess = at::zeros({1, 2});
  e.consistency = at::zeros({1, 2, 2});
  e.quality = at::ones({1, 2});
  e.present = at::ones({1, 2}, at::kBool);
  return e;
}

TEST(TaskKinds, ContributionsAddUpToTheLogOddsOfALabel) {
  models::TrustFusion::Config config = models::TrustFusion::Config::tiny();
  config.classes = 2, config.questions = 3;
  auto fusion = std::make_shared<models::TrustFusion>(config);
  fusion->set_prior(at::tensor({0.8, 0.2, 0.5, 0.5, 0.1, 0.9}));
  const models::TrustModel trust(fusion);
  const models::Evidence e = anything(*fusion);
  const Explanation why = explain_labels(trust, e, {}, kTags, {});
  at::Tensor logs = trust.decide(e).log_probabilities.view({3, 2});
  for (int64_t k = 0; k < 3; ++k) {
    const double odds = (logs[k][1] - logs[k][0]).item<double>();
    double nats = 0;
    for (const auto& [name, s] : why.streams)
      nats += s.parts[static_cast<size_t>(k)].contribution * (odds >= 0 ? 1 : -1);
    at::Tensor prior = fusion->log_prior().view({3, 2})[k];
    EXPECT_NEAR((prior[1] - prior[0]).item<double>() + nats, odds, 1e-4) << k;
  }
  EXPECT_THROW(explain_labels(trust, e, {}, {"hot"}, {}), Error);
  EXPECT_THROW(explain_values(trust, e, {}, 0.9, {}), Error);
}

TEST(TaskKinds, ContributionsToAValueAreNatsAtTheAnswer) {
  models::TrustFusion::Config config = models::TrustFusion::Config::tiny();
  config.classes = 16, config.questions = 2, config.values = true;
  auto fusion = std::make_shared<models::TrustFusion>(config);
  const models::TrustModel trust(fusion);
  const models::Evidence e = anything(*fusion);
  const Explanation why = explain_values(trust, e, {}, 0.8, {});
  const auto verdict = trust.decide(e);
  const models::ValueGrid& grid = *fusion->grid();
  at::Tensor bins = grid.bins_of(grid.mean(verdict.log_probabilities)).flatten();
  for (int64_t m = 0; m < 2; ++m) {
    const StreamExplanation& s = why.streams.at(config.streams[static_cast<size_t>(m)]);
    at::Tensor own = e.log_probabilities[0][m].unsqueeze(0);
    for (int64_t r = 0; r < 2; ++r) {
      const PartExplanation& part = s.parts[static_cast<size_t>(r)];
      at::Tensor support = verdict.support[0][m].view({2, 16})[r];
      EXPECT_NEAR(part.contribution,
                  (support[bins[r].item<int64_t>()] - support.mean()).item<double>(), 1e-4);
      EXPECT_NEAR(part.says, grid.mean(own)[0][r].item<double>(), 1e-6);
      at::Tensor ends = at::tensor({part.low, part.high}, at::kDouble);
      for (int64_t end = 0; end < 2; ++end) {
        at::Tensor level = grid.share_below(own, ends[end].expand({1, 2}))[0][r];
        EXPECT_NEAR(level.item<double>(), end ? 0.9 : 0.1, 1e-6);
      }
    }
  }
}

TEST(TaskKinds, LabelsComeWithThoseThatMayBePresent) {
  PredictOptions options;
  options.task = "tags";
  double size_before = 0;
  for (double coverage : {0.7, 0.9, 0.97}) {
    options.coverage = coverage;
    std::vector<Sample> items = splits().test;
    std::vector<Prediction> answers = model().predict_batch(items, options);
    double right = 0, size = 0, sure = 0;
    const auto n = static_cast<double>(items.size());
    for (size_t i = 0; i < items.size(); ++i) {
      const auto truth = items[i].labels.at("tags").as_strings();
      const Prediction& p = answers[i];
      ASSERT_TRUE(p.sure_labels);
      for (const std::string& label : *p.sure_labels)
        EXPECT_THAT(p.prediction_set, Contains(label));
      for (const std::string& label : *p.labels) EXPECT_THAT(p.prediction_set, Contains(label));
      for (const std::string& tag : kTags) {
        const bool is = std::count(truth.begin(), truth.end(), tag) > 0;
        const auto& among = is ? p.prediction_set : *p.sure_labels;
        const bool listed = std::count(among.begin(), among.end(), tag) > 0;
        right += (is ? listed : !listed) / (3 * n);
      }
      size += static_cast<double>(p.prediction_set.size()) / n;
      sure += static_cast<double>(p.sure_labels->size()) / n;
    }
    EXPECT_GT(right, coverage - 0.05) << coverage;
    EXPECT_GE(size, size_before) << coverage;
    EXPECT_GT(sure, 0) << coverage;
    size_before = size;
  }
}

TEST(TaskKinds, EvaluatesEveryCondition) {
  const auto& network = trained().model->network();
  const auto conditions = standard_conditions(network.stream_names());
  auto values = evaluate_conditions(trained().model->network(), "load", *trained().data.test,
                                    conditions, Json(), model().trust("load").get());
  ASSERT_EQ(values.size(), conditions.size());
  for (const ConditionResult& r : values) {
    EXPECT_GT(r.metrics.at("coverage"), 0.75) << r.name;
    EXPECT_LT(r.metrics.at("rmse"), 260) << r.name;
  }
  auto labels = evaluate_conditions(trained().model->network(), "tags", *trained().data.test,
                                    conditions, Json(), model().trust("tags").get());
  EXPECT_GT(labels.front().metrics.at("micro_f1"), 0.8);
  EXPECT_GT(labels.front().metrics.at("micro_f1"), labels.back().metrics.at("micro_f1") - 0.02);
  for (const ConditionResult& r : labels) {
    EXPECT_GT(r.metrics.at("coverage"), 0.85) << r.name;
    EXPECT_LT(r.metrics.at("undecided"), 0.6) << r.name;
    EXPECT_GE(r.metrics.at("undecided"), labels.front().metrics.at("undecided") - 0.02) << r.name;
  }
  EXPECT_TRUE(to_json(values).contains("rmse"));
}

TEST(TaskKinds, ABudgetAndAnEarlyExitWorkForValues) {
  PredictOptions options;
  options.early_exit = true;
  for (int i = 0; i < 5; ++i) {
    Prediction p = model().predict(splits().test[static_cast<size_t>(i)].streams, options);
    EXPECT_EQ(p.value.size(), 1u);
    EXPECT_LE(p.compute_share, 1);
  }
}

TEST(TaskKinds, LoadsWhole) {
  const auto dir =
      std::filesystem::temp_directory_path() / ("plait-kinds-" + std::to_string(::getpid()));
  model().save_pretrained(dir.string());
  auto back = MultimodalModel::from_pretrained(dir.string());
  std::filesystem::remove_all(dir);
  for (const char* task : {"load", "tags"}) {
    PredictOptions options;
    options.task = task;
    Prediction a = model().predict(broken().front().streams, options),
               b = back->predict(broken().front().streams, options);
    EXPECT_EQ(a.labels, b.labels);
    EXPECT_EQ(a.value.size(), b.value.size());
    for (size_t r = 0; r < a.value.size(); ++r) {
      EXPECT_NEAR(a.value[r], b.value[r], 1e-3);
      EXPECT_NEAR(a.value_high[r], b.value_high[r], 1e-3);
    }
    EXPECT_NEAR(a.confidence, b.confidence, 1e-6);
  }
}

TEST(TaskKinds, RefusesWhatDoesNotFit) {
  EXPECT_THROW(model().set_trust("load", model().trust("tags")), Error);
  EXPECT_THROW(model().set_trust("tags", model().trust("load")), Error);
  const Json values = model().network().task_config("load");
  const Json labels = model().network().task_config("tags");
  std::vector<Sample> one(1);
  one[0].id = "item 7";
  EXPECT_TRUE(targets_of(one, "load", values).isnan().all().item<bool>());
  EXPECT_FALSE(is_known(targets_of(one, "tags", labels)).any().item<bool>());
  one[0].labels["tags"] = Json::parse(R"(["hot", "dry"])");
  try {
    targets_of(one, "tags", labels);
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), HasSubstr("item 7"));
  }
  one[0].labels["load"] = Json("heavy");
  EXPECT_THROW(targets_of(one, "load", values), Error);
  one[0].labels["load"] = Json::parse("[1, 2]");
  EXPECT_THROW(targets_of(one, "load", values), Error);
}

TEST(TaskKinds, ATaskLearnsItsScaleAndLabelsFromTraining) {
  const Json values = model().network().task_config("load");
  EXPECT_EQ(values.at("outputs").as_int(), 1);
  EXPECT_NEAR(values.at("location").as_doubles()[0], 1000, 50);
  EXPECT_NEAR(values.at("scale").as_doubles()[0], 250, 40);
  EXPECT_EQ(model().network().task_config("tags").at("labels").as_strings(), kTags);
}

}  // namespace
}  // namespace plait::api
