// Detectors beyond what the registry's suite checks: suppression, the training losses, published
// sizes.
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "plait/core/error.h"
#include "plait/core/weights/safetensors.h"
#include "plait/models/detection/simota.h"
#include "plait/models/detection/task_aligned.h"
#include "plait/models/detection/yolo_blocks.h"
#include "plait/models/detection/yolo_v5.h"
#include "plait/models/detection/yolo_v8.h"
#include "plait/models/detection/yolox.h"
#include "plait/models/tasks/boxes.h"
#include "tests/golden.h"

namespace plait::models {
namespace {

using tests::close;

TensorMap golden() {
  return load_safetensors(PLAIT_SOURCE_DIR "/tests/golden/detection/yolox.safetensors");
}

TEST(Detection, KeepsWhatYoloxKeeps) {
  TensorMap g = golden();
  for (const char* key : {"a", "b", "c", "d"}) {
    at::Tensor given = g.at(std::string("options.") + key);
    DetectOptions options;
    options.score_threshold = given[0].item<double>();
    options.iou_threshold = given[1].item<double>();
    options.class_agnostic = given[2].item<double>() > 0;
    auto found = select_detections(g.at("inputs.boxes"), g.at("inputs.scores"), options);
    ASSERT_EQ(found.size(), 2u);
    for (size_t i = 0; i < found.size(); ++i) {
      at::Tensor expected = g.at(std::string("outputs.") + key + "." + std::to_string(i));
      ASSERT_EQ(found[i].boxes.size(0), expected.size(0)) << key;
      EXPECT_TRUE(at::equal(found[i].boxes, expected.slice(1, 0, 4))) << key;
      EXPECT_TRUE(close(found[i].scores, expected.select(1, 4), {1e-7, 0})) << key;
      EXPECT_TRUE(at::equal(found[i].classes.to(at::kFloat), expected.select(1, 5))) << key;
    }
  }
}

TEST(Detection, BoundsAndBadNumbers) {
  at::Tensor boxes = at::tensor({0., 0., 4., 4., 10., 10., 14., 14., 20., 20., 24., 24.})
                         .to(at::kFloat)
                         .view({1, 3, 4});
  at::Tensor scores = at::tensor({0.5, 0.9, 0.7}).to(at::kFloat).view({1, 3, 1});
  DetectOptions options;
  options.max_detections = 2;
  auto found = select_detections(boxes, scores, options);
  EXPECT_TRUE(close(found[0].scores, at::tensor({0.9, 0.7}).to(at::kFloat), {1e-7, 0}));
  options.max_candidates = 1;
  EXPECT_EQ(select_detections(boxes, scores, options)[0].boxes.size(0), 1);
  boxes[0][1][2] = std::numeric_limits<float>::quiet_NaN();
  scores[0][2][0] = std::numeric_limits<float>::quiet_NaN();
  found = select_detections(boxes, scores, DetectOptions());
  EXPECT_EQ(found[0].boxes.size(0), 1);
  EXPECT_THROW(select_detections(boxes[0], scores, options), Error);
}

/// What YOLOX's forward would give for these maps of log-odds.
TensorMap outputs_of(const at::Tensor& logits) {
  std::vector<at::Tensor> maps;
  for (int64_t stride : {8, 16, 32}) maps.push_back(at::empty({1, 1, 64 / stride, 96 / stride}));
  at::Tensor cells = cell_centres(maps, {8, 16, 32}), stride = cells.slice(1, 2);
  at::Tensor centre = (logits.slice(2, 0, 2) - 0.5) * stride + cells.slice(1, 0, 2);
  at::Tensor half = logits.slice(2, 2, 4).exp() * stride * 0.5;
  return {{"logits", logits},
          {"boxes", at::cat({centre - half, centre + half}, 2)},
          {"cells", cells.unsqueeze(0).expand({logits.size(0), -1, -1})}};
}

TEST(Detection, LearnsAsYoloxDoes) {
  TensorMap g = golden();
  at::Tensor logits = g.at("loss.logits").clone().set_requires_grad(true);
  at::Tensor loss = simota_loss(outputs_of(logits), g.at("loss.targets"), "test");
  EXPECT_TRUE(close(loss, g.at("loss.value"), {1e-4, 1e-5}));
  loss.backward();
  EXPECT_TRUE(close(logits.grad(), g.at("loss.gradient"), {1e-5, 1e-4}));
}

TEST(Detection, AssignsEveryObjectThatHasACell) {
  TensorMap g = golden();
  TensorMap outputs = outputs_of(g.at("loss.logits"));
  auto truth = true_objects(g.at("loss.targets"), 3, 3, outputs.at("boxes"), "test");
  for (int64_t i = 0; i < 3; ++i) {
    at::Tensor logits = outputs.at("logits")[i];
    Assignment a = assign_simota(outputs.at("boxes")[i], logits.select(1, 4), logits.slice(1, 5),
                                 outputs.at("cells")[i], truth[static_cast<size_t>(i)]);
    EXPECT_EQ(std::get<0>(at::_unique(a.objects)).size(0),
              truth[static_cast<size_t>(i)].boxes.size(0));
    EXPECT_EQ(std::get<0>(at::_unique(a.candidates)).size(0), a.candidates.size(0));
  }
}

TEST(Detection, RefusesWrongTargets) {
  TensorMap outputs = outputs_of(golden().at("loss.logits"));
  auto loss = [&](std::vector<float> row, int64_t rows = 3) {
    at::Tensor targets = at::full({rows, 1, 5}, -1.0F);
    targets[0][0] = at::tensor(row);
    return simota_loss(outputs, targets, "test");
  };
  EXPECT_NO_THROW(loss({2, 0, 0, 5, 5}));
  EXPECT_THROW(loss({3, 0, 0, 5, 5}), Error);
  EXPECT_THROW(loss({-2, 0, 0, 5, 5}), Error);
  EXPECT_THROW(loss({0, 5, 0, 5, 5}), Error);
  EXPECT_THROW(loss({0, 0, 0, std::numeric_limits<float>::quiet_NaN(), 5}), Error);
  EXPECT_THROW(loss({0, 0, 0, 5, 5}, 2), Error);
  // An object whose centre lies outside of the picture has no cell: nothing to learn but absence.
  EXPECT_TRUE(at::isfinite(loss({0, 900, 900, 950, 950})).item<bool>());
  EXPECT_THROW(YoloX(YoloX::Config::tiny()).forward({{"pixel_values", at::zeros({1, 3, 48, 64})}}),
               Error);
}

TEST(Detection, YoloxHasThePublishedSizes) {
  // Millions of parameters in the table of the paper and the authors' repository.
  const std::pair<const char*, double> kSizes[] = {{"nano", 0.91}, {"tiny", 5.06}, {"s", 9.0},
                                                   {"m", 25.3},    {"l", 54.2},    {"x", 99.1}};
  for (const auto& [size, millions] : kSizes) {
    const double count = static_cast<double>(YoloX(YoloX::Config::of_size(size)).parameter_count());
    EXPECT_NEAR(count / 1e6, millions, millions < 10 ? 0.06 : 0.1) << size;
  }
  EXPECT_THROW(YoloX::Config::of_size("xxl"), Error);
}

TEST(Detection, V5AndV8HaveThePublishedSizes) {
  // What the authors' programs print when they make the networks for 80 classes.
  const std::pair<const char*, int64_t> kV5[] = {
      {"n", 1872157}, {"s", 7235389}, {"m", 21190557}, {"l", 46563709}, {"x", 86749405}};
  for (const auto& [size, count] : kV5)
    EXPECT_EQ(YoloV5(YoloV5::Config::of_size(size)).parameter_count(), count) << size;
  const std::pair<const char*, int64_t> kV8[] = {
      {"n", 3157200}, {"s", 11166560}, {"m", 25902640}, {"l", 43691520}, {"x", 68229648}};
  // They count the 16 fixed weights of the distributions' mean.
  for (const auto& [size, count] : kV8)
    EXPECT_EQ(YoloV8(YoloV8::Config::of_size(size)).parameter_count() + 16, count) << size;
  EXPECT_THROW(YoloV5::Config::of_size("nano"), Error);
  EXPECT_THROW(YoloV8::Config::of_size(""), Error);
  YoloV5::Config config;
  config.anchors.pop_back();
  EXPECT_THROW(YoloV5{config}, Error);
}

at::Tensor row(std::vector<float> values) {
  return at::tensor(values).view({static_cast<int64_t>(values.size()) / 4, 4});
}

TEST(Detection, CompleteOverlapByHand) {
  // The same box; one beside it: no overlap, centres 10 apart, diagonal of both √(20² + 10²).
  at::Tensor a = row({0, 0, 10, 10, 0, 0, 10, 10}), b = row({0, 0, 10, 10, 10, 0, 20, 10});
  EXPECT_TRUE(close(complete_iou(a, b), at::tensor({1.0F, -100.0F / 500.0F}), {1e-6, 0}));
  // Same centre and area, another shape: 5 × 20 in 20 × 5 share 25 of 175.
  const double angle = std::atan(0.25) - std::atan(4.0), v = 4 / (M_PI * M_PI) * angle * angle;
  const double iou = 25.0 / 175, expected = iou - v / (1 - iou + v) * v;
  EXPECT_NEAR(complete_iou(row({0, 0, 20, 5}), row({7.5, -7.5, 12.5, 12.5})).item<double>(),
              expected, 1e-6);
}

TEST(Detection, AlignsTasksAsThePaperSays) {
  // Against plain loops over every object and candidate.
  auto generator = at::detail::createCPUGenerator(5);
  const int64_t kCandidates = 96, kClasses = 3;
  std::vector<at::Tensor> maps = {at::empty({1, 1, 8, 12})};
  at::Tensor cells = cell_centres(maps, {8});
  at::Tensor centre = cells.slice(1, 0, 2) + at::randn({kCandidates, 2}, generator) * 5;
  at::Tensor half = at::rand({kCandidates, 2}, generator) * 14 + 5;
  at::Tensor boxes = at::cat({centre - half, centre + half}, 1);
  at::Tensor scores = at::rand({kCandidates, kClasses}, generator);
  TrueObjects truth{row({4, 4, 50, 40, 20, 10, 70, 62, 60, 3, 95, 30, 30, 30, 31, 31}),
                    at::tensor({0, 2, 1, 1}, at::kLong)};
  AlignedAssignment given = assign_task_aligned(boxes, scores, cells, truth);

  at::Tensor overlap = box_iou(truth.boxes, boxes);
  const int64_t objects = truth.boxes.size(0);
  std::vector<int64_t> owner(kCandidates, -1);
  auto alignment = [&](int64_t g, int64_t i) {
    return scores[i][truth.classes[g]].item<double>() * std::pow(overlap[g][i].item<double>(), 6);
  };
  for (int64_t g = 0; g < objects; ++g) {
    std::vector<std::pair<double, int64_t>> ranked;
    for (int64_t i = 0; i < kCandidates; ++i) {
      const double x = cells[i][0].item<double>(), y = cells[i][1].item<double>();
      at::Tensor b = truth.boxes[g];
      if (x > b[0].item<double>() && x < b[2].item<double>() && y > b[1].item<double>() &&
          y < b[3].item<double>())
        ranked.emplace_back(-alignment(g, i), i);
    }
    std::sort(ranked.begin(), ranked.end());
    if (ranked.size() > 13) ranked.resize(13);
    for (const auto& [_, i] : ranked) {
      if (owner[i] < 0 || overlap[g][i].item<double>() > overlap[owner[i]][i].item<double>())
        owner[i] = g;
    }
  }
  std::vector<double> best_alignment(objects), best_overlap(objects);
  std::vector<int64_t> candidates, owners;
  for (int64_t i = 0; i < kCandidates; ++i) {
    if (owner[i] < 0) continue;
    candidates.push_back(i);
    owners.push_back(owner[i]);
    best_alignment[owner[i]] = std::max(best_alignment[owner[i]], alignment(owner[i], i));
    best_overlap[owner[i]] = std::max(best_overlap[owner[i]], overlap[owner[i]][i].item<double>());
  }
  ASSERT_GT(candidates.size(), 20u);
  EXPECT_TRUE(at::equal(given.pairs.candidates, at::tensor(candidates)));
  EXPECT_TRUE(at::equal(given.pairs.objects, at::tensor(owners)));
  for (size_t p = 0; p < candidates.size(); ++p) {
    const int64_t g = owners[p], i = candidates[p];
    const double expected = alignment(g, i) / (best_alignment[g] + 1e-9) * best_overlap[g];
    EXPECT_NEAR(given.weight[static_cast<int64_t>(p)].item<double>(), expected, 1e-4);
  }
  truth.boxes = truth.boxes.slice(0, 3);  // Smaller than a cell and between all centres.
  truth.classes = truth.classes.slice(0, 3);
  EXPECT_EQ(assign_task_aligned(boxes, scores, cells, truth).weight.size(0), 0);
}

TEST(Detection, SpreadsDistancesOverWholeStrides) {
  // A candidate that is sure of exactly the true place has no loss but of its class.
  YoloV8::Config config = YoloV8::Config::tiny();
  std::vector<at::Tensor> maps = {at::empty({1, 1, 4, 4})};
  at::Tensor cells = cell_centres(maps, {8}).unsqueeze(0), boxes = at::zeros({1, 16, 4});
  at::Tensor logits = at::full({1, 16, 4 * config.reg_max + 2}, -20.0F);
  // The cell at (12, 12) and an object from 4 to 28: one stride to the left and top, two beyond.
  const int64_t cell = 5;
  for (int64_t side = 0; side < 4; ++side)
    logits[0][cell][side * config.reg_max + (side < 2 ? 1 : 2)] = 20;
  logits[0][cell][4 * config.reg_max + 1] = 20;
  boxes[0][cell] = at::tensor({4.0F, 4.0F, 28.0F, 28.0F});
  at::Tensor targets = at::tensor({1.0F, 4.0F, 4.0F, 28.0F, 28.0F}).view({1, 1, 5});
  TensorMap outputs = {{"boxes", boxes}, {"logits", logits}, {"cells", cells}};
  EXPECT_NEAR(task_aligned_loss(outputs, targets, config.reg_max, "test").item<double>(), 0, 1e-4);
  logits[0][cell][1] = -20;  // Of the left side as sure of no stride as of three.
  logits[0][cell][0] = logits[0][cell][3] = 0;
  EXPECT_NEAR(task_aligned_loss(outputs, targets, config.reg_max, "test").item<double>(),
              1.5 / 4 * (20 + std::log(2.0)), 1e-3);
}

}  // namespace
}  // namespace plait::models
