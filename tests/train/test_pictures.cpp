// Boxes and masks: COCO's figures, and networks that learn to find shapes whose truth is known.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>

#include "plait/core/error.h"
#include "plait/core/weights/safetensors.h"
#include "plait/data/image/image.h"
#include "plait/models/detection/yolo_v5.h"
#include "plait/models/detection/yolo_v8.h"
#include "plait/models/detection/yolox.h"
#include "plait/models/segmentation/unet.h"
#include "plait/train/boxed_source.h"
#include "plait/train/picture_metrics.h"
#include "plait/train/picture_training.h"
#include "plait/train/trainer.h"
#include "shapes.h"
#include "toy.h"

namespace plait::train {
namespace {

using toy::Shapes;

TensorMap golden() {
  return load_safetensors(PLAIT_SOURCE_DIR "/tests/golden/train/average_precision.safetensors");
}

TEST(PictureMetrics, EqualCoco) {
  TensorMap g = golden();
  AveragePrecision precision(4);
  for (int64_t i = 0; g.count("truth." + std::to_string(i)) > 0; ++i) {
    at::Tensor truth = g.at("truth." + std::to_string(i)),
               found = g.at("found." + std::to_string(i));
    precision.add({found.slice(1, 2), found.select(1, 1), found.select(1, 0).to(at::kLong)},
                  {truth.slice(1, 1), truth.select(1, 0).to(at::kLong)});
  }
  auto result = precision.result();
  for (const char* name : {"ap", "ap50", "ap75", "ar100"})
    EXPECT_NEAR(result.at(name), g.at(std::string("outputs.") + name).item<double>(), 1e-9) << name;
  std::vector<double> classes = precision.per_class();
  ASSERT_EQ(classes.size(), 4u);
  for (int64_t k = 0; k < 4; ++k)
    EXPECT_NEAR(classes[static_cast<size_t>(k)], g.at("outputs.per_class")[k].item<double>(), 1e-9);
}

TEST(PictureMetrics, EqualJaccard) {
  TensorMap g = golden();
  at::Tensor target = g.at("masks.target"), predicted = g.at("masks.predicted");
  at::Tensor confusion = at::zeros({5, 5}, at::kLong);
  for (int64_t i = 0; i < target.size(0); ++i)
    confusion = confusion + mask_confusion(predicted[i], target[i], 5);
  auto result = mask_metrics(confusion);
  EXPECT_NEAR(result.at("mean_iou"), g.at("outputs.mean_iou").item<double>(), 1e-12);
  EXPECT_NEAR(result.at("accuracy"), (target == predicted).to(at::kDouble).mean().item<double>(),
              1e-12);
  target = target.clone();
  target.slice(2, 7).fill_(-1);
  EXPECT_TRUE(at::equal(mask_confusion(predicted, target, 5),
                        mask_confusion(predicted.slice(2, 0, 7), target.slice(2, 0, 7), 5)));
}

TEST(PictureMetrics, ByHandAndErrors) {
  at::Tensor box = at::tensor({0., 0., 10., 10.}).view({1, 4}), kind = at::zeros({1}, at::kLong);
  models::TrueObjects truth{box, kind};
  AveragePrecision precision(2);
  EXPECT_THROW(precision.result(), Error);
  // 8 of 10 columns shared: right from overlap 0.5 to 0.8.
  precision.add({at::tensor({0., 0., 8., 10.}).view({1, 4}), at::ones({1}), kind}, truth);
  EXPECT_NEAR(precision.result().at("ap"), 0.7, 1e-12);
  EXPECT_NEAR(precision.result().at("ap50"), 1, 1e-12);
  EXPECT_EQ(precision.per_class()[1], -1);
  // The same object in a second picture that nobody found.
  precision.add({at::zeros({0, 4}), at::zeros({0}), at::zeros({0}, at::kLong)}, truth);
  EXPECT_NEAR(precision.result().at("ap50"), 51.0 / 101, 1e-12);
  EXPECT_THROW(precision.add({box, at::zeros({2}), kind}, truth), Error);
  EXPECT_THROW(precision.add({box, at::ones({1}), kind + 2}, truth), Error);
  EXPECT_THROW(precision.add({box / 0, at::ones({1}), kind}, truth), Error);
  EXPECT_THROW(mask_confusion(at::zeros({2}, at::kLong), at::full({2}, 3, at::kLong), 3), Error);
  EXPECT_THROW(mask_confusion(at::zeros({3}), at::zeros({2}), 3), Error);
  EXPECT_THROW(mask_metrics(at::zeros({2, 2})), Error);
}

TrainingArguments arguments(int64_t steps, double rate) {
  TrainingArguments args;
  args.learning_rate = rate;
  args.max_steps = steps;
  args.per_device_train_batch_size = 16;
  args.warmup_ratio = 0.1;
  args.load_best_model_at_end = false;
  return args;
}

/// Trains with the shapes of one seed, measures with those of another, before and after.
std::pair<Scalars, Scalars> learn(const std::shared_ptr<Trainable>& training, int64_t steps,
                                  double rate = 3e-3) {
  training->module().initialize(1);
  Trainer trainer(training, arguments(steps, rate), std::make_shared<Shapes>(2000, 1));
  Shapes held_out(64, 2);
  Scalars before = trainer.evaluate(held_out);
  trainer.train();
  Scalars after = trainer.evaluate(held_out);
  for (const auto& [name, value] : after)
    std::printf("%s: %.4f before, %.4f after\n", name.c_str(), before.at(name), value);
  return {before, after};
}

TEST(PictureTraining, YoloxFindsShapes) {
  models::YoloX::Config config;
  config.num_classes = Shapes::kClasses;
  config.width = 0.125;
  auto [before, after] =
      learn(std::make_shared<DetectionTraining>(std::make_shared<models::YoloX>(config)), 240);
  EXPECT_LT(before.at("ap50"), 0.1);
  EXPECT_GT(after.at("ap50"), 0.6);
  EXPECT_GT(after.at("ap"), 0.3);
}

TEST(PictureTraining, V5FindsShapes) {
  models::YoloV5::Config config;
  config.num_classes = Shapes::kClasses;
  config.width = 0.125;
  config.anchors = {12, 12, 16, 16, 20, 20, 18, 18, 24, 24, 30, 30, 24, 24, 32, 32, 48, 48};
  auto [before, after] =
      learn(std::make_shared<DetectionTraining>(std::make_shared<models::YoloV5>(config)), 240);
  EXPECT_LT(before.at("ap50"), 0.1);
  EXPECT_GT(after.at("ap50"), 0.5);
}

TEST(PictureTraining, V8FindsShapes) {
  models::YoloV8::Config config;
  config.num_classes = Shapes::kClasses;
  config.width = 0.125;
  config.reg_max = 8;
  auto [before, after] =
      learn(std::make_shared<DetectionTraining>(std::make_shared<models::YoloV8>(config)), 240);
  EXPECT_LT(before.at("ap50"), 0.1);
  EXPECT_GT(after.at("ap50"), 0.5);
}

TEST(PictureTraining, UNetColoursShapes) {
  models::UNet::Config config;
  config.num_classes = 1 + Shapes::kClasses;
  config.channels = {8, 8, 16, 32, 32};
  config.last_channels = 8;
  config.norm = "batch";
  auto [before, after] = learn(
      std::make_shared<SegmentationTraining>(std::make_shared<models::UNet>(config)), 200, 1e-2);
  EXPECT_LT(before.at("mean_iou"), 0.2);
  EXPECT_GT(after.at("mean_iou"), 0.5);  // Ground alone would be 0.2.
  EXPECT_GT(after.at("accuracy"), 0.9);
}

TEST(BoxedSource, BoxesFollowThePicture) {
  // A white rectangle in a black picture: wherever it comes to lie, its box is around it.
  toy::Folder folder("boxed");
  at::Tensor picture = at::zeros({60, 90, 3}, at::kByte);
  picture.slice(0, 20, 44).slice(1, 50, 80).fill_(255);
  const std::string file = folder.path + "/a.png", bytes = data::encode_png(picture);
  std::ofstream(file, std::ios::binary).write(bytes.data(), static_cast<long>(bytes.size()));
  auto pictures = std::make_shared<data::BoxedPictures>();
  pictures->classes = {"thing"};
  pictures->pictures.push_back({file, {{50, 20, 80, 44}}, {0}});
  pictures->pictures.push_back({file, {}, {}});
  BoxedSource source(pictures, {0, 1}, 96);

  Batch plain = source.batch({0, 1}, kEvaluationSeed);
  ASSERT_EQ(plain.targets.at("objects").sizes(), at::IntArrayRef({2, 1, 5}));
  EXPECT_EQ(plain.targets.at("objects")[1][0][0].item<float>(), -1);
  int whole = 0, mirrored = 0;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    Batch batch = source.batch({0}, seed);
    at::Tensor box = batch.targets.at("objects")[0][0];
    if (box[0].item<float>() < 0) continue;  // Shifted out of the square.
    at::Tensor white = batch.streams.at("image").inputs.at("pixel_values")[0].amin(0) > 0;
    at::Tensor columns = white.any(0).nonzero(), rows = white.any(1).nonzero();
    at::Tensor seen = at::stack({columns.min(), rows.min(), columns.max() + 1, rows.max() + 1});
    EXPECT_TRUE(at::allclose(seen.to(at::kFloat), box.slice(0, 1), 0, 1.01)) << seed;
    ++whole;
    // In the file the rectangle is right of the middle.
    at::Tensor dark = batch.streams.at("image").inputs.at("pixel_values")[0].amax(0) < -0.9;
    at::Tensor middle = dark.any(0).nonzero().to(at::kFloat).mean();
    mirrored += (box[1] + box[3]).item<float>() / 2 < middle.item<float>() ? 1 : 0;
  }
  EXPECT_GT(whole, 25);
  EXPECT_GT(mirrored, 5);
  EXPECT_LT(mirrored, whole - 5);
  EXPECT_TRUE(at::equal(source.batch({0}, 3).targets.at("objects"),
                        source.batch({0}, 3).targets.at("objects")));
  EXPECT_THROW(BoxedSource(pictures, {2}, 96), Error);
  EXPECT_THROW(BoxedSource(pictures, {0}, 100), Error);
}

TEST(PictureTraining, SaysWhatIsMissing) {
  auto training =
      DetectionTraining(std::make_shared<models::YoloX>(models::YoloX::Config::tiny()), "photo");
  EXPECT_THROW(training.loss(Shapes(1, 1).batch({0}, 1)), Error);
}

}  // namespace
}  // namespace plait::train
