// Recipes over table rows without names: what is fitted, on what, and that it is kept.
#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "plait/api/recipe.h"
#include "plait/core/error.h"
#include "plait/core/parallel.h"
#include "plait/models/encoders/vector.h"

namespace plait::api {
namespace {

/// Two views of two classes; training rows lie around 100, held-out ones far from there.
std::vector<Sample> samples(int count, double offset) {
  std::vector<Sample> out(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) {
    Sample& s = out[static_cast<size_t>(i)];
    s.id = std::to_string(offset) + "-" + std::to_string(i);
    const double sign = i % 2 ? 1 : -1;
    s.streams["left"] = at::tensor({offset + 3 * sign, offset + i % 5}, at::kDouble);
    s.streams["right"] = at::tensor({1000.0 * sign, 1.0 + i % 3, 7.0}, at::kDouble);
    s.labels["category"] = i % 2 ? "b" : "a";
  }
  return out;
}

Recipe recipe() {
  Recipe r;
  r.damage = 0;
  r.model = Json::parse(R"({"width": 16, "fusion": {"type": "mean"}, "streams": {
    "left": {"encoder": {"type": "vector", "features": 2},
             "processor": {"type": "vector", "features": 2}, "frozen": true},
    "right": {"encoder": {"type": "vector", "features": 3},
              "processor": {"type": "vector", "features": 3}, "frozen": true}},
    "tasks": {"category": {"type": "classification"}}})");
  r.training = Json::object(
      {{"num_train_epochs", 15}, {"learning_rate", 0.02}, {"per_device_train_batch_size", 20}});
  return r;
}

data::DatasetSplits splits() {
  data::DatasetSplits out;
  out.classes = {"a", "b"};
  out.train = samples(60, 100);
  out.validation = samples(20, 500);
  out.test = samples(20, -900);
  return out;
}

TEST(VectorRecipe, FitsOnTheTrainingSplitAlone) {
  auto model = build_model(recipe(), splits());
  TensorMap state = model->network().state_dict();
  EXPECT_NEAR(state.at("streams.left.encoder.mean")[0].item<double>(), 100, 1e-4);
  EXPECT_NEAR(state.at("streams.left.encoder.deviation")[0].item<double>(), 3, 1e-4);
  EXPECT_NEAR(state.at("streams.right.encoder.deviation")[0].item<double>(), 1000, 1e-2);
  EXPECT_EQ(state.at("streams.right.encoder.deviation")[2].item<double>(), 1);
  RecipeData data = prepare_features(*model, recipe(), splits(), nullptr);
  std::vector<int64_t> rows(60);
  for (int64_t i = 0; i < 60; ++i) rows[static_cast<size_t>(i)] = i;
  auto pooled = [&](train::FeatureDataset& set, const std::vector<int64_t>& indices) {
    return set.batch(indices, train::kEvaluationSeed)
        .streams.at("left")
        .inputs.at("encoded.pooled");
  };
  EXPECT_NEAR(pooled(*data.train, rows).select(1, 0).mean().item<double>(), 0, 1e-4);
  EXPECT_NEAR(pooled(*data.train, rows).select(1, 0).std().item<double>(), 1, 0.02);
  // Held-out rows are measured with the training split's yardstick.
  EXPECT_NEAR(pooled(*data.validation, {0})[0][0].item<double>(), (497 - 100) / 3.0, 1e-2);
  EXPECT_NEAR(pooled(*data.test, {1})[0][0].item<double>(), (-897 - 100) / 3.0, 1e-2);
}

TEST(VectorRecipe, WhatIsFittedStays) {
  auto model = build_model(recipe(), splits());
  at::Tensor before = model->network().state_dict().at("streams.left.encoder.mean").clone();
  std::string fingerprint = model->fingerprint("left");
  fit_vector_encoders(*model, samples(30, 5000));
  EXPECT_TRUE(model->network().state_dict().at("streams.left.encoder.mean").equal(before));
  EXPECT_EQ(model->fingerprint("left"), fingerprint);
}

TEST(VectorRecipe, ChangesTheFingerprintOfCachedFeatures) {
  data::DatasetSplits none;
  none.classes = {"a", "b"};
  auto model = build_model(recipe(), none);
  std::string before = model->fingerprint("left");
  fit_vector_encoders(*model, samples(30, 5));
  EXPECT_NE(model->fingerprint("left"), before);
}

TEST(VectorRecipe, TrainsAndIsSavedWithItsYardstick) {
  SerialScope serial;
  auto model = build_model(recipe(), splits());
  data::DatasetSplits data = splits();
  data.validation = samples(20, 100);
  train_model(*model, recipe(), prepare_features(*model, recipe(), data, nullptr), "");
  auto dir = std::filesystem::temp_directory_path() /
             ("plait-vector-recipe-" + std::to_string(::getpid()));
  model->save_pretrained(dir.string());
  auto again = MultimodalModel::from_pretrained(dir.string());
  std::filesystem::remove_all(dir);
  EXPECT_TRUE(again->network()
                  .state_dict()
                  .at("streams.right.encoder.deviation")
                  .equal(model->network().state_dict().at("streams.right.encoder.deviation")));
  std::vector<Sample> items = samples(10, 100);
  auto answers = again->predict_batch(items), same = model->predict_batch(items);
  for (size_t i = 0; i < items.size(); ++i) {
    EXPECT_EQ(answers[i].label, items[i].labels.at("category").as_string());
    EXPECT_EQ(answers[i].label, same[i].label);
  }
  Sample wide;
  wide.streams["left"] = at::zeros({3});
  try {
    again->predict_batch({wide});
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("left"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace plait::api
