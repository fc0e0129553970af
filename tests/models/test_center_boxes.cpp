// Peaks of a CenterNet's maps against the definition written out.
#include "plait/models/tasks/center_boxes.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "plait/core/error.h"
#include "plait/models/tasks/coco.h"

namespace plait::models {
namespace {

struct Peak {
  float score;
  int64_t index;
};

/// Cells that no neighbour of their class exceeds, best first.
std::vector<Peak> peaks_of(const at::Tensor& heat, double min_score) {
  auto value = heat.accessor<float, 3>();
  std::vector<Peak> peaks;
  for (int64_t y = 0; y < heat.size(0); ++y) {
    for (int64_t x = 0; x < heat.size(1); ++x) {
      for (int64_t c = 0; c < heat.size(2); ++c) {
        bool highest = value[y][x][c] > min_score;
        for (int64_t v = std::max<int64_t>(y - 1, 0); v <= std::min(y + 1, heat.size(0) - 1); ++v) {
          for (int64_t u = std::max<int64_t>(x - 1, 0); u <= std::min(x + 1, heat.size(1) - 1); ++u)
            highest = highest && value[v][u][c] <= value[y][x][c];
        }
        if (highest) peaks.push_back({value[y][x][c], (y * heat.size(1) + x) * heat.size(2) + c});
      }
    }
  }
  std::sort(peaks.begin(), peaks.end(), [](auto& a, auto& b) { return a.score > b.score; });
  return peaks;
}

TEST(CenterBoxes, EqualTheirDefinition) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(7);
  at::Tensor heat = at::rand({9, 12, 5}, generator), sides = at::rand({9, 12, 4}, generator) * 20;
  std::vector<Peak> expected = peaks_of(heat, 0.4);
  ASSERT_GT(expected.size(), 25u);
  BoxCandidates found = decode_centers(heat, sides, 4, 0.4, 20);
  ASSERT_EQ(found.boxes.sizes(), at::IntArrayRef({20, 4}));
  for (int64_t i = 0; i < 20; ++i) {
    const Peak& peak = expected[static_cast<size_t>(i)];
    int64_t cell = peak.index / 5, y = cell / 12, x = cell % 12;
    EXPECT_EQ(found.scores[i].item<float>(), peak.score);
    EXPECT_EQ(found.classes[i].item<int64_t>(), peak.index % 5);
    const float sign[4] = {-1, -1, 1, 1};
    for (int64_t side = 0; side < 4; ++side) {
      float centre = static_cast<float>(4 * (side % 2 == 0 ? x : y));
      EXPECT_NEAR(found.boxes[i][side].item<float>(),
                  centre + sign[side] * sides[y][x][side].item<float>(), 1e-4);
    }
  }
  EXPECT_EQ(decode_centers(heat, sides, 4, 0.4, 1000).scores.numel(),
            static_cast<int64_t>(expected.size()));
}

TEST(CenterBoxes, NothingAndWhatDoesNotFit) {
  EXPECT_EQ(decode_centers(at::zeros({4, 4, 3}), at::ones({4, 4, 4}), 4, 0.1).boxes.size(0), 0);
  EXPECT_THROW(decode_centers(at::zeros({4, 4, 3}), at::ones({4, 5, 4}), 4, 0.1), Error);
  EXPECT_THROW(decode_centers(at::zeros({4, 4, 3}), at::ones({4, 4, 3}), 4, 0.1), Error);
  EXPECT_THROW(decode_centers(at::zeros({4, 4}), at::ones({4, 4, 4}), 4, 0.1), Error);
  EXPECT_THROW(decode_centers(at::zeros({4, 4, 3}), at::ones({4, 4, 4}), 0, 0.1), Error);
}

TEST(CenterBoxes, ClassesOfCoco) {
  EXPECT_EQ(coco_classes().size(), 80u);
  EXPECT_EQ(coco_classes().front(), "person");
  EXPECT_EQ(coco_classes().back(), "toothbrush");
}

}  // namespace
}  // namespace plait::models
