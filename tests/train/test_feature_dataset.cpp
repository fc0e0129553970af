#include "plait/train/feature_dataset.h"

#include <gtest/gtest.h>

#include "plait/core/error.h"
#include "plait/train/modality_dropout.h"
#include "plait/train/trainer.h"
#include "toy.h"

namespace plait::train {
namespace {

constexpr int64_t kItems = 40;

/// Values tell the item (units) and the variant (hundreds).
FeatureTable table(double variant, int64_t length, double quality) {
  at::Tensor item = at::arange(kItems, at::kFloat) + 100 * variant;
  FeatureTable t;
  t.pooled = item.unsqueeze(1).repeat({1, 3});
  t.tokens = item.view({kItems, 1, 1}).repeat({1, length, 3});
  t.mask =
      at::arange(length).unsqueeze(0).lt(at::arange(kItems).remainder(length).add(1).unsqueeze(1));
  t.quality = at::full({kItems}, quality);
  return t;
}

std::shared_ptr<FeatureDataset> dataset(double damage = 0.5) {
  FeatureTable speech = table(0, 4, 1);
  speech.present = at::arange(kItems).remainder(4).ne(0);
  std::map<std::string, std::vector<FeatureTable>> streams;
  streams["image"] = {table(0, 2, 1), table(1, 5, 0.5), table(2, 3, 0.25)};
  streams["speech"] = {speech};
  return std::make_shared<FeatureDataset>(streams, TensorMap{{"category", at::arange(kItems)}},
                                          std::vector<std::string>{}, damage);
}

TEST(FeatureDataset, GivesCachedFeaturesByItem) {
  auto data = dataset();
  Batch b = data->batch({5, 8, 0}, kEvaluationSeed);
  EXPECT_EQ(b.size, 3);
  EXPECT_EQ(b.ids, (std::vector<std::string>{"5", "8", "0"}));
  EXPECT_TRUE(at::equal(b.targets.at("category"), at::tensor({5, 8, 0}, at::kLong)));
  EXPECT_TRUE(at::equal(b.streams.at("image").inputs.at("encoded.pooled").select(1, 0),
                        at::tensor({5.f, 8.f, 0.f})));
  const StreamBatch& speech = b.streams.at("speech");
  EXPECT_TRUE(at::equal(speech.present, at::tensor({1, 0, 0}).to(at::kBool)));
  EXPECT_TRUE(at::equal(speech.quality, at::tensor({1.f, 0.f, 0.f})));
  // Image: items 5, 8, 0 have 2, 1, 1 real tokens of the 5 to which the variants are padded.
  EXPECT_EQ(b.streams.at("image").inputs.at("encoded.tokens").size(1), 2);
  EXPECT_TRUE(at::equal(b.streams.at("image").inputs.at("encoded.mask").sum(1),
                        at::tensor({2, 1, 1}, at::kLong)));
}

TEST(FeatureDataset, VariantsFollowSeedAndIndexAlone) {
  auto data = dataset();
  std::map<int, int> seen;
  for (uint64_t epoch = 1; epoch <= 50; ++epoch) {
    Batch all = data->batch({0, 1, 2, 3}, epoch), some = data->batch({3, 1}, epoch);
    auto pooled = [](const Batch& b, int64_t row) {
      return b.streams.at("image").inputs.at("encoded.pooled")[row][0].item<double>();
    };
    EXPECT_EQ(pooled(all, 3), pooled(some, 0));
    EXPECT_EQ(pooled(all, 1), pooled(some, 1));
    for (int64_t i = 0; i < 4; ++i) {
      int variant = static_cast<int>(pooled(all, i)) / 100;
      ++seen[variant];
      EXPECT_EQ(all.streams.at("image").quality[i].item<double>(), variant == 0   ? 1
                                                                   : variant == 1 ? 0.5
                                                                                  : 0.25);
    }
  }
  EXPECT_NEAR(seen[0], 100, 30);
  EXPECT_NEAR(seen[1], 50, 25);
  EXPECT_NEAR(seen[2], 50, 25);
}

TEST(FeatureDataset, ViewsFixDamageAndHideStreams) {
  auto data = dataset();
  auto damaged = data->fix({{"image", 2}}, {"speech"});
  Batch b = damaged->batch({7}, kEvaluationSeed);
  EXPECT_EQ(b.streams.count("speech"), 0u);
  EXPECT_EQ(b.streams.at("image").inputs.at("encoded.pooled")[0][0].item<double>(), 207);
  EXPECT_EQ(data->fix({}, {}, {"speech"})->batch({7}, 0).streams.count("image"), 0u);
  EXPECT_EQ(data->batch({7}, 0).streams.size(), 2u);
  auto part = data->subset({30, 10});
  EXPECT_EQ(part->size(), 2);
  EXPECT_TRUE(at::equal(part->targets().at("category"), at::tensor({30, 10}, at::kLong)));
  EXPECT_EQ(part->subset({1})->batch({0}, 0).ids[0], "10");
  EXPECT_THROW(data->fix({{"smell", 0}}), Error);
  EXPECT_THROW(data->fix({{"image", 3}}), Error);
  EXPECT_THROW(data->fix({}, {"image", "speech"}), Error);
  EXPECT_THROW(part->batch({2}, 0), Error);
  EXPECT_THROW(part->subset({-1}), Error);
}

TEST(FeatureDataset, RefusesWhatDoesNotMatch) {
  auto make = [](FeatureTable image, int64_t labels) {
    std::map<std::string, std::vector<FeatureTable>> streams;
    streams["image"] = {std::move(image)};
    FeatureDataset(streams, {{"category", at::zeros({labels}, at::kLong)}});
  };
  EXPECT_NO_THROW(make(table(0, 2, 1), kItems));
  EXPECT_THROW(make(table(0, 2, 1), kItems - 1), Error);
  FeatureTable t = table(0, 2, 1);
  t.mask = at::ones({kItems, 3}, at::kBool);
  EXPECT_THROW(make(t, kItems), Error);
  t = table(0, 2, 1);
  t.tokens = at::zeros({kItems, 2, 4});
  EXPECT_THROW(make(t, kItems), Error);
  EXPECT_THROW(make(FeatureTable(), kItems), Error);
  EXPECT_THROW(FeatureDataset({}, {}), Error);
}

TEST(ModalityDropout, NeverDropsAllAndKeepsTheRate) {
  std::map<std::string, int> hidden;
  int alone = 0;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    Batch batch = dataset()->batch({1, 2, 3, 4, 5, 6, 7}, kEvaluationSeed);
    at::Tensor before = batch.streams.at("speech").present;
    Batch dropped = batch;
    drop_modalities(dropped, {1, 2, 3, 4, 5, 6, 7}, seed,
                    [](const std::string& s) { return s == "image" ? 0.9 : 0.3; });
    at::Tensor image = dropped.streams.at("image").present,
               speech = dropped.streams.at("speech").present;
    EXPECT_TRUE(at::logical_or(image, speech).all().item<bool>()) << "an item lost everything";
    EXPECT_TRUE(image[3].item<bool>()) << "item 4 has nothing but its image";
    EXPECT_FALSE(at::logical_and(speech, at::logical_not(before)).any().item<bool>())
        << "a stream appeared";
    EXPECT_TRUE(at::equal(dropped.streams.at("image").quality.gt(0), image));
    EXPECT_TRUE(batch.streams.at("image").present.all().item<bool>())
        << "the source's own mask was written";
    hidden["image"] += static_cast<int>(at::logical_not(image).sum().item<int64_t>());
    hidden["speech"] +=
        static_cast<int>(at::logical_and(before, at::logical_not(speech)).sum().item<int64_t>());
    alone += static_cast<int>(at::logical_xor(image, speech).sum().item<int64_t>());
  }
  // 300 items have both. Image goes in 0.9 of them, but for half of the 0.27 in which both would.
  EXPECT_NEAR(hidden["image"], 300 * (0.9 - 0.27 / 2), 30);
  EXPECT_NEAR(hidden["speech"], 300 * (0.3 - 0.27 / 2), 30);
  EXPECT_GT(alone, 0);
}

/// A linear classifier of the cached features.
class Linear : public Trainable {
 public:
  Linear() : layer(3, kItems) { layer.initialize(1); }
  models::Module& module() override { return layer; }
  LossOutput loss(const Batch& batch) override {
    at::Tensor x = batch.streams.at("image").inputs.at("encoded.pooled") / 100;
    return {at::cross_entropy_loss(layer(x), batch.targets.at("category")), {}};
  }
  models::Linear layer;
};

TEST(FeatureDataset, TrainsReproducibly) {
  auto run = [](int64_t seed) {
    auto model = std::make_shared<Linear>();
    TrainingArguments args;
    args.learning_rate = 0.1;
    args.per_device_train_batch_size = 7;
    args.seed = seed;
    Trainer(model, args, dataset(), dataset()).train();
    return toy::copy(model->layer.state_dict());
  };
  EXPECT_TRUE(toy::equal(run(1), run(1)));
  EXPECT_FALSE(toy::equal(run(1), run(2)));
}

TEST(FeatureDataset, GroupsFollowTheItemsOfAView) {
  FeatureTable table{.tokens = {},
                     .mask = {},
                     .pooled = at::randn({4, 2}),
                     .present = {},
                     .quality = {},
                     .inputs = {}};
  FeatureDataset data({{"a", {table}}}, {{"kind", at::zeros({4}, at::kLong)}});
  EXPECT_TRUE(data.groups().equal(at::arange(4)));
  data.set_groups({"x", "y", "x", "z"});
  EXPECT_TRUE(data.groups().equal(at::tensor({0, 1, 0, 2}, at::kLong)));
  EXPECT_TRUE(data.subset({2, 1})->groups().equal(at::tensor({0, 1}, at::kLong)));
  EXPECT_THROW(data.set_groups({"x"}), Error);
}

}  // namespace
}  // namespace plait::train
