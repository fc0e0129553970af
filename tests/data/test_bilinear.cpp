// Resizing as TensorFlow.js does it, against the definition written out.
#include "plait/data/image/bilinear.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "plait/core/error.h"

namespace plait::data {
namespace {

at::Tensor random_picture(int64_t height, int64_t width) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(static_cast<uint64_t>(height * width));
  return at::randint(0, 256, {height, width, 3}, generator, at::kLong).to(at::kByte);
}

/// The picture with zeros around, then four neighbours weighted at every place.
at::Tensor expected_resize(const at::Tensor& picture, int64_t height, int64_t width,
                           Square square) {
  int64_t side = std::max(picture.size(0), picture.size(1));
  at::Tensor padded = picture.to(at::kDouble);
  if (square != Square::kNo) {
    int64_t top = square == Square::kCentred ? (side - picture.size(0)) / 2 : 0;
    int64_t left = square == Square::kCentred ? (side - picture.size(1)) / 2 : 0;
    padded = at::zeros({side, side, 3}, at::kDouble);
    padded.narrow(0, top, picture.size(0)).narrow(1, left, picture.size(1)).copy_(picture);
  }
  auto in = padded.accessor<double, 3>();
  at::Tensor out = at::zeros({3, height, width}, at::kDouble);
  auto value = out.accessor<double, 3>();
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      double v = static_cast<double>(y * padded.size(0)) / static_cast<double>(height);
      double u = static_cast<double>(x * padded.size(1)) / static_cast<double>(width);
      auto y0 = static_cast<int64_t>(std::floor(v)), x0 = static_cast<int64_t>(std::floor(u));
      int64_t y1 = std::min(y0 + 1, padded.size(0) - 1), x1 = std::min(x0 + 1, padded.size(1) - 1);
      double dy = v - static_cast<double>(y0), dx = u - static_cast<double>(x0);
      for (int64_t c = 0; c < 3; ++c)
        value[c][y][x] = (in[y0][x0][c] * (1 - dx) + in[y0][x1][c] * dx) * (1 - dy) +
                         (in[y1][x0][c] * (1 - dx) + in[y1][x1][c] * dx) * dy;
    }
  }
  return out;
}

TEST(Bilinear, EqualsItsDefinition) {
  for (auto [height, width] : {std::pair{17, 40}, {40, 17}, {24, 24}, {1, 9}, {9, 1}, {1, 1}}) {
    at::Tensor picture = random_picture(height, width);
    for (Square square : {Square::kNo, Square::kAtEnd, Square::kCentred}) {
      for (auto [rows, columns] : {std::pair{32, 32}, {12, 20}, {1, 1}}) {
        at::Tensor got = resize_bilinear(picture, rows, columns, square);
        at::Tensor expected = expected_resize(picture, rows, columns, square);
        ASSERT_EQ(got.sizes(), expected.sizes());
        EXPECT_LT((got.to(at::kDouble) - expected).abs().max().item<double>(), 1e-4)
            << height << " x " << width << " to " << rows << " x " << columns;
      }
    }
  }
}

TEST(Bilinear, LongPicturesNeedLittleMemory) {
  // As a square it would have 10^14 pixels.
  at::Tensor picture = at::full({1, 10'000'000, 3}, 100, at::kByte);
  for (Square square : {Square::kNo, Square::kAtEnd, Square::kCentred}) {
    at::Tensor out = resize_bilinear(picture, 64, 64, square);
    EXPECT_EQ(out.sizes(), at::IntArrayRef({3, 64, 64}));
    EXPECT_LE(out.max().item<float>(), 100);
  }
}

TEST(Bilinear, WhatIsNoPictureIsRefused) {
  EXPECT_THROW(resize_bilinear(at::zeros({0, 5, 3}, at::kByte), 4, 4), Error);
  EXPECT_THROW(resize_bilinear(at::zeros({5, 5, 4}, at::kByte), 4, 4), Error);
  EXPECT_THROW(resize_bilinear(at::zeros({5, 5, 3}), 4, 4), Error);
  EXPECT_THROW(resize_bilinear(at::zeros({5, 5, 3}, at::kByte), 0, 4), Error);
}

}  // namespace
}  // namespace plait::data
