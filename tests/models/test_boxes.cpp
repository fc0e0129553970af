// Boxes and their suppression against the definitions written out.
#include "plait/models/tasks/boxes.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>
#include <set>

#include "plait/core/error.h"

namespace plait::models {
namespace {

/// Boxes whose corners are whole numbers up to `side`, so that many overlap and some tie.
at::Tensor random_boxes(int64_t count, int64_t side, uint64_t seed) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  at::Tensor corners = at::randint(0, side, {count, 4}, generator, at::kFloat);
  at::Tensor low = at::minimum(corners.slice(1, 0, 2), corners.slice(1, 2, 4));
  at::Tensor high = at::maximum(corners.slice(1, 0, 2), corners.slice(1, 2, 4));
  return at::cat({low, high}, 1);
}

/// Counts the pixels of the grid that both boxes and either box cover.
double counted_iou(const at::Tensor& a, const at::Tensor& b, int64_t side) {
  int64_t both = 0, either = 0;
  auto covers = [](const at::Tensor& box, int64_t x, int64_t y) {
    const auto* v = box.const_data_ptr<float>();
    return static_cast<float>(x) >= v[0] && static_cast<float>(x) < v[2] &&
           static_cast<float>(y) >= v[1] && static_cast<float>(y) < v[3];
  };
  for (int64_t y = 0; y < side; ++y) {
    for (int64_t x = 0; x < side; ++x) {
      bool in_a = covers(a, x, y), in_b = covers(b, x, y);
      both += in_a && in_b;
      either += in_a || in_b;
    }
  }
  return either ? static_cast<double>(both) / static_cast<double>(either) : 0;
}

TEST(Boxes, OverlapIsTheShareOfPixels) {
  at::Tensor a = random_boxes(12, 16, 1), b = random_boxes(9, 16, 2);
  at::Tensor iou = box_iou(a, b);
  ASSERT_EQ(iou.sizes(), at::IntArrayRef({12, 9}));
  for (int64_t i = 0; i < 12; ++i) {
    for (int64_t j = 0; j < 9; ++j)
      EXPECT_NEAR(iou[i][j].item<double>(), counted_iou(a[i].contiguous(), b[j].contiguous(), 16),
                  1e-12)
          << i << " " << j;
  }
}

/// What suppression means: in order of falling scores, keep a box that overlaps no kept one (of its
/// class) by more than the threshold.
std::vector<int64_t> expected_nms(const at::Tensor& boxes, const at::Tensor& scores,
                                  const at::Tensor& classes, double threshold) {
  std::set<int64_t> left;
  for (int64_t i = 0; i < boxes.size(0); ++i) left.insert(i);
  std::vector<int64_t> kept;
  while (!left.empty()) {
    int64_t best = *left.begin();
    for (int64_t i : left) {
      if (scores[i].item<float>() > scores[best].item<float>()) best = i;
    }
    kept.push_back(best);
    std::erase_if(left, [&](int64_t i) {
      return i == best ||
             (classes[i].item<int64_t>() == classes[best].item<int64_t>() &&
              box_iou(boxes[i].unsqueeze(0), boxes[best].unsqueeze(0)).item<double>() > threshold);
    });
  }
  return kept;
}

std::vector<int64_t> to_vector(const at::Tensor& indices) {
  return {indices.const_data_ptr<int64_t>(), indices.const_data_ptr<int64_t>() + indices.numel()};
}

TEST(Boxes, SuppressionEqualsItsDefinition) {
  for (uint64_t seed = 0; seed < 8; ++seed) {
    at::Tensor boxes = random_boxes(60, 20, seed);
    auto generator = at::make_generator<at::CPUGeneratorImpl>(seed + 100);
    // Few distinct values: equal scores occur.
    at::Tensor scores = at::randint(0, 25, {60}, generator, at::kFloat) / 25;
    at::Tensor classes = at::randint(0, 3, {60}, generator, at::kLong);
    for (double threshold : {0.0, 0.3, 0.5, 1.0}) {
      EXPECT_EQ(to_vector(nms(boxes, scores, threshold)),
                expected_nms(boxes, scores, at::zeros({60}, at::kLong), threshold));
      EXPECT_EQ(to_vector(batched_nms(boxes, scores, classes, threshold)),
                expected_nms(boxes, scores, classes, threshold));
    }
    std::vector<int64_t> all = to_vector(nms(boxes, scores, 0.5));
    ASSERT_GT(all.size(), 3u);
    all.resize(3);
    EXPECT_EQ(to_vector(nms(boxes, scores, 0.5, 3)), all);
  }
}

TEST(Boxes, EmptyAndDegenerate) {
  EXPECT_EQ(nms(at::zeros({0, 4}), at::zeros({0}), 0.5).numel(), 0);
  EXPECT_EQ(box_iou(at::zeros({0, 4}), at::zeros({3, 4})).sizes(), at::IntArrayRef({0, 3}));
  // Points and boxes that are inside out overlap nothing.
  at::Tensor odd = at::tensor({5.f, 5.f, 5.f, 5.f, 9.f, 9.f, 1.f, 1.f}).reshape({2, 4});
  EXPECT_EQ(box_iou(odd, odd).abs().max().item<double>(), 0);
  EXPECT_EQ(nms(odd, at::ones({2}), 0.1).numel(), 2);
}

TEST(Boxes, Clipped) {
  at::Tensor boxes = at::tensor({-3.f, 2.f, 50.f, 70.f}).reshape({1, 4});
  EXPECT_TRUE(clip_boxes(boxes, 40, 30).equal(at::tensor({0.f, 2.f, 30.f, 40.f}).reshape({1, 4})));
}

TEST(Boxes, WhatIsNoBoxIsRefused) {
  at::Tensor boxes = at::zeros({3, 4}), scores = at::zeros({3});
  EXPECT_THROW(nms(at::zeros({3, 5}), scores, 0.5), Error);
  EXPECT_THROW(nms(at::Tensor(), scores, 0.5), Error);
  EXPECT_THROW(nms(boxes, at::zeros({2}), 0.5), Error);
  EXPECT_THROW(nms(boxes.to(at::kLong), scores, 0.5), Error);
  EXPECT_THROW(batched_nms(boxes, scores, at::zeros({4}, at::kLong), 0.5), Error);
  EXPECT_THROW(batched_nms(at::Tensor(), scores, at::zeros({3}, at::kLong), 0.5), Error);
  for (double bad :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    EXPECT_THROW(nms(at::full({3, 4}, bad), scores, 0.5), Error);
    EXPECT_THROW(nms(boxes, at::full({3}, bad), 0.5), Error);
    EXPECT_THROW(clip_boxes(at::full({3, 4}, bad), 10, 10), Error);
  }
}

}  // namespace
}  // namespace plait::models
