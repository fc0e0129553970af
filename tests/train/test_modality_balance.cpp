// Balanced sampling between modalities: the realised ratio, whatever the items have.
#include "plait/train/modality_balance.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "../core/expect_error.h"
#include "plait/core/file.h"
#include "plait/core/json.h"
#include "plait/train/feature_dataset.h"
#include "plait/train/modality_dropout.h"
#include "plait/train/trainer.h"
#include "toy.h"

namespace plait::train {
namespace {

constexpr int64_t kItems = 20000;

/// Streams that a share of the items have each, by chance; `text` all.
TensorMap presence(const std::map<std::string, double>& shares) {
  TensorMap out;
  uint64_t seed = 1;
  for (const auto& [name, share] : shares)
    out[name] = at::rand({kItems}, at::detail::createCPUGenerator(++seed)) < share;
  return out;
}

/// How often each stream is shown in one pass; every item that has a stream keeps one.
std::map<std::string, double> shows(const TensorMap& present,
                                    const std::map<std::string, double>& ratio, double dropout) {
  auto hide = balancing_dropout(present, ratio, [&](const std::string&) { return dropout; });
  Batch batch;
  batch.size = kItems;
  for (const auto& [name, here] : present) batch.streams[name] = {{}, here, {}};
  std::vector<int64_t> rows(kItems);
  std::iota(rows.begin(), rows.end(), 0);
  drop_modalities(
      batch, rows, 11, [&](const std::string& name) { return hide.at(name); },
      [&](const std::string& name) { return ratio.count(name) ? ratio.at(name) : 1.0; });
  std::map<std::string, double> out;
  at::Tensor before = at::zeros({kItems}, at::kBool), after = before.clone();
  for (const auto& [name, stream] : batch.streams) {
    out[name] = stream.present.sum().item<double>();
    before.logical_or_(present.at(name));
    after.logical_or_(stream.present);
  }
  EXPECT_TRUE(before.equal(after));
  return out;
}

TEST(ModalityBalance, TheRealisedRatioIsTheOneAskedFor) {
  const std::map<std::string, double> ratio = {{"text", 1}, {"image", 1}, {"audio", 0.5}};
  for (double dropout : {0.0, 0.3}) {
    for (const auto& shares : std::vector<std::map<std::string, double>>{
             {{"text", 1.0}, {"image", 1.0}, {"audio", 1.0}},
             {{"text", 1.0}, {"image", 0.7}, {"audio", 0.9}},
             {{"text", 0.5}, {"image", 0.6}, {"audio", 0.4}}}) {
      auto seen = shows(presence(shares), ratio, dropout);
      EXPECT_NEAR(seen["image"] / seen["text"], 1, 0.03) << dropout << " " << shares.at("image");
      EXPECT_NEAR(seen["audio"] / seen["text"], 0.5, 0.02) << dropout << " " << shares.at("image");
    }
  }
  auto seen = shows(presence({{"text", 1.0}, {"image", 1.0}}), {{"text", 0.1}}, 0);
  EXPECT_NEAR(seen["text"] / seen["image"], 0.1, 0.01);
}

TEST(ModalityBalance, ShowsAsMuchAsTheRatioAllows) {
  auto seen = shows(presence({{"text", 1.0}, {"image", 1.0}, {"audio", 1.0}}), {{"audio", 0.5}}, 0);
  EXPECT_EQ(seen["text"], kItems);
  EXPECT_EQ(seen["image"], kItems);
}

TEST(ModalityBalance, ComesNearWhatTheItemsDoNotAllow) {
  // 7 of 10 items have no picture and have to show something else.
  auto seen = shows(presence({{"text", 0.9}, {"image", 0.3}, {"audio", 0.9}}),
                    {{"text", 1}, {"image", 1}, {"audio", 0.5}}, 0);
  EXPECT_NEAR(seen["image"], 0.3 * kItems, 300);
  EXPECT_GT(seen["image"] / seen["text"], 0.55);
  EXPECT_NEAR(seen["audio"] / seen["text"], 0.5, 0.15);
}

TEST(ModalityBalance, ItemsWithOneStreamSetTheLimit) {
  // Half of the items are sound alone: it cannot be shown less than that.
  at::Tensor alone = at::arange(kItems) % 2 == 0;
  TensorMap present = {{"audio", at::ones({kItems}, at::kBool)}, {"text", alone.logical_not()}};
  auto seen = shows(present, {{"audio", 0.1}}, 0);
  EXPECT_NEAR(seen["audio"] / kItems, 0.5, 0.02);
  EXPECT_NEAR(seen["text"] / kItems, 0.5, 0.02);
}

TEST(ModalityBalance, RefusesWhatIsNoRatio) {
  auto none = [](const std::string&) { return 0.0; };
  TensorMap present = presence({{"text", 1.0}, {"image", 1.0}});
  tests::expect_error(ErrorCode::kInvalidArgument, "image, text", [&] {
    balancing_dropout(present, {{"smell", 1}}, none);
  });
  tests::expect_error(ErrorCode::kInvalidArgument, "modality_ratio.text", [&] {
    balancing_dropout(present, {{"text", 0}}, none);
  });
  for (const char* bad : {R"({"modality_ratio": {"a": -1}})", R"({"modality_ratio": [1, 1]})",
                          R"({"modality_ratio": {"a": "x"}})"}) {
    tests::expect_error(ErrorCode::kInvalidArgument, "modality_ratio",
                        [&] { read_config<TrainingArguments>(Json::parse(bad), "training"); });
  }
}

TEST(ModalityBalance, TheTrainerKeepsAndLogsIt) {
  toy::Folder folder("balance");
  TrainingArguments args;
  args.output_dir = folder.path;
  args.num_train_epochs = 8;
  args.per_device_train_batch_size = 20;
  args.logging_steps = 5;
  args.learning_rate = 0.01;
  args.modality_ratio = Json::parse(R"({"a": 1, "b": 0.5})");
  auto source = std::make_shared<toy::Points>(400);
  EXPECT_TRUE(source->presence().at("b").all().item<bool>());
  EXPECT_EQ(source->presence().at("b").size(0), 400);
  Trainer trainer(std::make_shared<toy::Classifier>(), args, source);
  TrainResult result = trainer.train();
  EXPECT_EQ(result.shown.at("a"), 1);
  EXPECT_NEAR(result.shown.at("b"), 0.5, 0.03);
  EXPECT_NEAR(result.to_json().at("shown").at("b").as_double(), 0.5, 0.03);
  const std::string log = read_file(folder.path + "/log.jsonl");
  EXPECT_NE(log.find("\"shown/b\":0.5"), std::string::npos) << log;
}

TEST(ModalityBalance, FeaturesKnowWhatTheyHave) {
  FeatureTable table;
  table.pooled = at::ones({4, 2});
  table.present = at::tensor({1, 0, 1, 1}, at::kLong) > 0;
  FeatureDataset data({{"a", {table, table}}}, {});
  EXPECT_TRUE(data.presence().at("a").equal(table.present));
  EXPECT_TRUE(data.subset({1, 0})->presence().at("a").equal(at::tensor({0, 1}, at::kLong) > 0));
}

}  // namespace
}  // namespace plait::train
