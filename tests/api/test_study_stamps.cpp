// The study of the stamps, on one item of each class on either side.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "plait/api/frozen_stream.h"
#include "plait/api/recipe.h"
#include "plait/api/study_data.h"
#include "plait/core/error.h"
#include "tests/api/study_checks.h"

namespace plait::api {
namespace {

TEST(StampsStudy, HoldsWhatAStudyNeeds) {
  StudyData data = stamps_subset_study(1, 0);
  expect_sound(data);
  EXPECT_EQ(data.classes, 9);
  EXPECT_EQ(data.streams, (std::vector<std::string>{"text", "image", "speech"}));
  EXPECT_EQ(data.licence, "GPL-2");
  EXPECT_EQ(data.train.size(), 9);
  EXPECT_EQ(data.conditions[0].test.size(), 9);
  EXPECT_EQ(data.train.widths(), (std::vector<int64_t>{384, 1536, 512}));
  ASSERT_EQ(data.costs.size(), 3u);
  for (double cost : data.costs) EXPECT_GT(cost, 1e7);
  EXPECT_FALSE(condition(data, "text/foreign_1").seen);
  EXPECT_FALSE(condition(data, "speech/babble_noise_0.7").seen);
  EXPECT_TRUE(condition(data, "speech/silence_0.7").seen);

  // Two streams at once: what each of them is on its own.
  const StudyCondition &two = condition(data, "image+speech"),
                       &speech = condition(data, "speech/white_noise_0.7");
  EXPECT_TRUE(two.test.features[2][0].equal(speech.test.features[2][0]));
  EXPECT_TRUE(two.hit.all(0).to(at::kLong).equal(at::tensor({0, 1, 1}, at::kLong)));
  EXPECT_TRUE(two.seen);
  EXPECT_FALSE(condition(data, "text+image").seen);

  // The second time everything comes from the store.
  expect_same(data, stamps_subset_study(1, 0));
}

TEST(StampsStudy, RecipeIsTheOneOfTheRepository) {
  Recipe inside = stamps_recipe(), file = Recipe::read(PLAIT_SOURCE_DIR "/recipes/stamps.json");
  EXPECT_EQ(write_config(inside).dump(), write_config(file).dump());
}

/// In memory.
class MemoryStore : public FeatureStore {
 public:
  std::optional<TensorMap> get(const std::string& key) override {
    auto found = items_.find(key);
    return found == items_.end() ? std::nullopt : std::optional<TensorMap>(found->second);
  }
  void put(const std::string& key, const TensorMap& features) override { items_[key] = features; }
  bool contains(const std::string& key) override { return items_.count(key) > 0; }
  int64_t size() const override { return static_cast<int64_t>(items_.size()); }

 private:
  std::map<std::string, TensorMap> items_;
};

TEST(FrozenStream, EncodesOnceWhateverTheOrder) {
  Json config = Json::parse(R"({
    "width": 8,
    "streams": {"row": {"encoder": {"type": "vector", "features": 3},
                        "processor": {"type": "vector", "features": 3}, "frozen": true}},
    "fusion": {"type": "product"},
    "tasks": {"kind": {"type": "classification", "labels": ["a", "b"]}}})",
                            "config");
  auto model = MultimodalModel::create(config, "");
  std::vector<Sample> samples(3);
  for (size_t i = 0; i < samples.size(); ++i) {
    samples[i].id = std::to_string(i);
    samples[i].streams["row"] = at::full({3}, static_cast<double>(i));
  }
  samples[0].streams["other"] = at::full({3}, 9.0);
  MemoryStore store;
  FrozenStream stream(model, "row", samples, &store);
  StudyDamage noise = FrozenStream::damage("noise", true, {{"1", 1.0}});
  StudyDamage foreign = stream.replaced_by("foreign", "other", false, samples);
  const Value first = FrozenStream::clean("0"), last = FrozenStream::clean("2");

  EXPECT_TRUE(
      stream.encode({last, first}).equal(at::tensor({2.f, 2.f, 2.f, 0.f, 0.f, 0.f}).view({2, 3})));
  EXPECT_EQ(store.size(), 2);
  at::Tensor noisy = stream.encode({noise.apply(last, 0.5, 4), last});
  EXPECT_FALSE(noisy[0].equal(noisy[1]));
  EXPECT_EQ(store.size(), 3);
  EXPECT_EQ(stream.encode({foreign.apply(first, 1, 1)})[0][0].item<float>(), 9);
  EXPECT_EQ(stream.encode({foreign.apply(last, 1, 1)})[0][0].item<float>(), 2);
  EXPECT_EQ(stream.judge({first, last}).sizes(), at::IntArrayRef({2}));

  const int64_t kept = store.size();
  FrozenStream again(model, "row", samples, &store);
  EXPECT_TRUE(again.encode({noise.apply(last, 0.5, 4)})[0].equal(noisy[0]));
  EXPECT_EQ(store.size(), kept);
  again.encode({noise.apply(last, 0.5, 5)});
  EXPECT_EQ(store.size(), kept + 1);

  samples[1].streams.erase("row");
  EXPECT_THROW(FrozenStream(model, "row", samples, &store), Error);
}

}  // namespace
}  // namespace plait::api
