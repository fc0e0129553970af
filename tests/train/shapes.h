#pragma once
#include <ATen/ATen.h>

#include <array>
#include <cmath>
#include <random>
#include <vector>

#include "plait/core/hash.h"
#include "plait/train/trainable.h"

namespace plait::train::toy {

/// Pictures of 64 × 64 with one to three squares, discs or triangles of any colour on a noisy
/// ground of another, drawn from a seed: what they show is known.
class Shapes : public BatchSource {
 public:
  static constexpr int64_t kSide = 64, kObjects = 3, kClasses = 3;
  Shapes(int64_t count, uint64_t seed) : count_(count), seed_(seed) {}

  int64_t size() const override { return count_; }
  Batch batch(const std::vector<int64_t>& indices, uint64_t) override {
    Batch out;
    out.size = static_cast<int64_t>(indices.size());
    at::Tensor pixels = at::empty({out.size, 3, kSide, kSide});
    at::Tensor objects = at::full({out.size, kObjects, 5}, -1.0F);
    at::Tensor mask = at::zeros({out.size, kSide, kSide}, at::kLong);
    for (int64_t i = 0; i < out.size; ++i)
      draw(mix_seed(seed_, indices[static_cast<size_t>(i)]), pixels[i], objects[i], mask[i]);
    at::Tensor all = at::ones({out.size}, at::kBool);
    out.streams["image"] = {{{"pixel_values", pixels}}, all, at::ones({out.size})};
    out.targets["objects"] = objects;
    out.targets["mask"] = mask;
    return out;
  }

 private:
  using Box = std::array<double, 4>;

  static bool inside(int64_t kind, const Box& box, double x, double y) {
    if (x < box[0] || x > box[2] || y < box[1] || y > box[3]) return false;
    const double radius = (box[2] - box[0]) / 2, cx = box[0] + radius, cy = box[1] + radius;
    if (kind == 1) return std::hypot(x - cx, y - cy) <= radius;
    if (kind == 2) return std::abs(x - cx) <= (y - box[1]) / 2;
    return true;
  }

  static void draw(uint64_t seed, at::Tensor pixels, at::Tensor objects, at::Tensor mask) {
    std::mt19937_64 random(seed);
    auto uniform = [&](double low, double high) {
      return low + (high - low) * static_cast<double>(random() >> 11) * 0x1p-53;
    };
    auto p = pixels.accessor<float, 3>();
    auto o = objects.accessor<float, 2>();
    auto m = mask.accessor<int64_t, 2>();
    std::array<double, 3> ground{};
    for (double& c : ground) c = uniform(-0.4, 0.4);
    for (int64_t c = 0; c < 3; ++c) {
      for (int64_t y = 0; y < kSide; ++y) {
        for (int64_t x = 0; x < kSide; ++x)
          p[c][y][x] = static_cast<float>(ground[static_cast<size_t>(c)] + uniform(-0.15, 0.15));
      }
    }
    std::vector<Box> boxes;
    const auto wanted = static_cast<size_t>(1 + random() % kObjects);
    for (int attempt = 0; attempt < 50 && boxes.size() < wanted; ++attempt) {
      const double side = uniform(14, 30), left = uniform(0, kSide - side - 1),
                   top = uniform(0, kSide - side - 1);
      const Box box = {left, top, left + side, top + side};
      bool free = true;
      for (const Box& other : boxes)
        free = free &&
               (box[2] < other[0] || other[2] < box[0] || box[3] < other[1] || other[3] < box[1]);
      if (!free) continue;
      const auto kind = static_cast<int64_t>(random() % kClasses);
      std::array<double, 3> colour{};
      for (double& c : colour) c = random() % 2 == 0 ? uniform(-1, -0.6) : uniform(0.6, 1);
      const auto row = static_cast<int64_t>(boxes.size());
      o[row][0] = static_cast<float>(kind);
      for (int64_t k = 0; k < 4; ++k)
        o[row][k + 1] = static_cast<float>(box[static_cast<size_t>(k)]);
      for (int64_t y = 0; y < kSide; ++y) {
        for (int64_t x = 0; x < kSide; ++x) {
          if (!inside(kind, box, static_cast<double>(x) + 0.5, static_cast<double>(y) + 0.5))
            continue;
          m[y][x] = kind + 1;
          for (int64_t c = 0; c < 3; ++c)
            p[c][y][x] = static_cast<float>(colour[static_cast<size_t>(c)] + uniform(-0.1, 0.1));
        }
      }
      boxes.push_back(box);
    }
  }

  int64_t count_;
  uint64_t seed_;
};

}  // namespace plait::train::toy
