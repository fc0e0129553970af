// A search: fitted by train_model, damaged, explained, with its prediction sets.
#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "plait/api/recipe.h"
#include "plait/core/error.h"
#include "tests/api/kinds_data.h"

namespace plait::api {
namespace {

/// A search: left and middle look for what right holds.
MultimodalModel& searcher() {
  static const std::shared_ptr<MultimodalModel> kTrained = [] {
    Recipe r = recipe();
    r.model["tasks"] =
        Json::parse(R"({"shared": {"type": "retrieval", "embedding": 8, "gallery": "right"}})");
    r.training["num_train_epochs"] = 20;
    auto out = build_model(r, splits());
    RecipeData data = prepare_features(*out, r, splits(), nullptr);
    train_model(*out, r, data, "");
    return out;
  }();
  return *kTrained;
}

/// Embeddings of the test items by the stream that is searched.
at::Tensor gallery() {
  std::vector<at::Tensor> rows;
  std::vector<Sample> items = splits().test;
  for (Sample& s : items) {
    s.streams.erase("left");
    s.streams.erase("middle");
  }
  for (const Prediction& p : searcher().predict_batch(items))
    rows.push_back(at::tensor(p.embedding));
  return at::stack(rows);
}

double mean_reciprocal(const std::vector<Sample>& items, bool trusted) {
  PredictOptions options;
  options.gallery = gallery();
  auto trust = searcher().trust("shared");
  if (!trusted) searcher().set_trust("shared", nullptr);
  std::vector<Sample> queries = items;
  for (Sample& s : queries) s.streams.erase("right");
  std::vector<Prediction> found = searcher().predict_batch(queries, options);
  searcher().set_trust("shared", trust);
  double out = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].decided_by.empty(), !trusted);
    const auto& order = found[i].ranking;
    const auto place = std::find(order.begin(), order.end(), static_cast<int64_t>(i));
    EXPECT_NE(place, order.end());
    out += 1.0 / static_cast<double>(place - order.begin() + 1) / static_cast<double>(found.size());
  }
  return out;
}

TEST(Search, ASearchStandsABrokenStream) {
  ASSERT_TRUE(searcher().trust("shared"));
  EXPECT_GT(mean_reciprocal(splits().test, true), mean_reciprocal(splits().test, false) - 0.03);
  EXPECT_GT(mean_reciprocal(broken(), true), mean_reciprocal(broken(), false));
}

TEST(Search, ASearchIsExplained) {
  PredictOptions options = explained("shared");
  options.gallery = gallery();
  std::vector<std::string> names;
  for (int64_t k = 0; k < options.gallery.size(0); ++k)
    names.push_back("item " + std::to_string(k));
  options.gallery_names = names;
  Sample query = broken().front();
  query.streams.erase("right");
  const Prediction p = searcher().predict(query.streams, options);
  const Explanation& e = p.explain();
  EXPECT_EQ(e.kind, TaskKind::kOther);
  EXPECT_EQ(e.label, names[static_cast<size_t>(p.ranking[0])]);
  EXPECT_EQ(e.runner_up, p.ranking_names[1]);
  EXPECT_NEAR(e.confidence, p.ranking_scores[0], 1e-6);
  EXPECT_FALSE(e.streams.at("right").present);
  EXPECT_GT(e.streams.at("left").breakage, e.streams.at("middle").breakage);
  EXPECT_GT(e.streams.at("middle").contribution, e.streams.at("left").contribution);
  EXPECT_EQ(e.streams.at("left").weight, p.modality_weights.at("left"));
  // Without names rows stand for candidates, and nothing but the searched stream cannot be
  // explained.
  options.gallery_names.clear();
  EXPECT_EQ(searcher().predict(query.streams, options).explain().label,
            std::to_string(p.ranking[0]));
  EXPECT_THROW(searcher().predict({{"right", splits().test.front().streams.at("right")}}, options),
               Error);
  EXPECT_THROW(searcher().predict(query.streams, explained("shared")), Error);
  options.gallery_names = {"one"};
  EXPECT_THROW(searcher().predict(query.streams, options), Error);
}

TEST(Search, ASearchGivesASetOfCandidates) {
  PredictOptions options;
  options.gallery = gallery();
  std::vector<Sample> queries = splits().test;
  for (Sample& s : queries) s.streams.erase("right");
  double size_before = 0;
  for (double coverage : {0.7, 0.9}) {
    options.coverage = coverage;
    std::vector<Prediction> found = searcher().predict_batch(queries, options);
    double covered = 0, size = 0;
    const auto n = static_cast<double>(found.size());
    for (size_t i = 0; i < found.size(); ++i) {
      const auto& set = found[i].prediction_set;
      ASSERT_FALSE(set.empty());
      for (size_t k = 0; k < set.size(); ++k)
        ASSERT_EQ(set[k], std::to_string(found[i].ranking[k]));
      covered += std::count(set.begin(), set.end(), std::to_string(i)) / n;
      size += static_cast<double>(set.size()) / n;
    }
    EXPECT_GT(covered, coverage - 0.08) << coverage;
    EXPECT_GT(size, size_before) << coverage;
    EXPECT_LT(size, 0.8 * n) << coverage;
    size_before = size;
  }
}

TEST(Search, ASearchGivesProbabilitiesInOrder) {
  PredictOptions options;
  options.gallery = gallery();
  Sample query = splits().test.front();
  query.streams.erase("right");
  Prediction p = searcher().predict(query.streams, options);
  ASSERT_EQ(p.ranking.size(), splits().test.size());
  EXPECT_TRUE(std::is_sorted(p.ranking_scores.rbegin(), p.ranking_scores.rend()));
  double sum = 0, weights = 0;
  for (double score : p.ranking_scores) sum += score;
  for (const auto& [name, weight] : p.modality_weights) weights += weight;
  EXPECT_NEAR(sum, 1, 1e-5);
  EXPECT_NEAR(weights, 1, 1e-5);
  EXPECT_EQ(p.modality_weights.at("right"), 0);
  // Without a stream of the query the network answers.
  Sample other = splits().test.front();
  other.streams.erase("left");
  other.streams.erase("middle");
  EXPECT_EQ(searcher().predict(other.streams, options).decided_by, "");
  options.gallery = at::zeros({3, 5});
  EXPECT_THROW(searcher().predict(query.streams, options), Error);
  options.gallery = at::full({3, 8}, std::nan(""));
  EXPECT_THROW(searcher().predict(query.streams, options), Error);
  const auto dir =
      std::filesystem::temp_directory_path() / ("plait-search-" + std::to_string(::getpid()));
  searcher().save_pretrained(dir.string());
  auto back = MultimodalModel::from_pretrained(dir.string());
  std::filesystem::remove_all(dir);
  options.gallery = gallery();
  EXPECT_EQ(back->predict(query.streams, options).ranking, p.ranking);
}

}  // namespace
}  // namespace plait::api
