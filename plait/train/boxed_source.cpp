#include "plait/train/boxed_source.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <random>

#include "plait/core/error.h"
#include "plait/core/hash.h"
#include "plait/core/parallel.h"
#include "plait/data/image/image.h"
#include "plait/data/image/place.h"

namespace plait::train {
namespace {

constexpr double kLeastScale = 0.7, kMostScale = 1.4;
constexpr float kLeastSide = 2, kLeastShare = 0.25F;

/// Where a picture comes to lie.
struct Placement {
  double scale = 1;
  int64_t left = 0, top = 0;
  bool mirrored = false;
};

Placement place(const at::Tensor& picture, int64_t side, uint64_t seed) {
  Placement p;
  p.scale = data::fitting_scale(picture, side);
  if (seed == kEvaluationSeed) return p;
  std::mt19937_64 random(seed);
  auto uniform = [&] { return static_cast<double>(random() >> 11) * 0x1p-53; };
  p.scale *= kLeastScale + (kMostScale - kLeastScale) * uniform();
  auto shift = [&](int64_t extent) {
    return static_cast<int64_t>(std::floor(
        uniform() * (static_cast<double>(side) - static_cast<double>(extent) * p.scale)));
  };
  p.left = shift(picture.size(1));
  p.top = shift(picture.size(0));
  p.mirrored = random() % 2 == 0;
  return p;
}

struct Item {
  at::Tensor pixels;
  std::vector<std::array<float, 5>> objects;
};

Item make_item(const data::BoxedPicture& from, int64_t side, uint64_t seed) {
  at::Tensor picture = data::load_image(from.file);
  // Otherwise the boxes would lie elsewhere, as with a picture that its file's tag turns.
  if ((from.width > 0 && from.width != picture.size(1)) ||
      (from.height > 0 && from.height != picture.size(0))) {
    fail(ErrorCode::kCorruptData, "detector",
         from.file + ": expected " + std::to_string(from.width) + " x " +
             std::to_string(from.height) + " pixels as its annotations say, got " +
             std::to_string(picture.size(1)) + " x " + std::to_string(picture.size(0)));
  }
  const Placement p = place(picture, side, seed);
  at::Tensor square = data::place_picture(picture, side, p.scale, p.left, p.top);
  if (p.mirrored) square = square.flip({1});
  Item item{detector_pixels(square), {}};
  const auto edge = static_cast<float>(side);
  for (size_t i = 0; i < from.boxes.size(); ++i) {
    const auto scale = static_cast<float>(p.scale);
    std::array<float, 4> box = from.boxes[i];
    for (size_t k = 0; k < 4; ++k)
      box[k] = box[k] * scale + static_cast<float>(k % 2 == 0 ? p.left : p.top);
    const float area = (box[2] - box[0]) * (box[3] - box[1]);
    if (p.mirrored) {
      std::swap(box[0], box[2]);
      box[0] = edge - box[0];
      box[2] = edge - box[2];
    }
    for (float& value : box) value = std::clamp(value, 0.0F, edge);
    const float width = box[2] - box[0], height = box[3] - box[1];
    if (width < kLeastSide || height < kLeastSide || width * height < kLeastShare * area) continue;
    item.objects.push_back({static_cast<float>(from.classes[i]), box[0], box[1], box[2], box[3]});
  }
  return item;
}

}  // namespace

at::Tensor detector_pixels(const at::Tensor& rgb) {
  return rgb.permute({2, 0, 1}).to(at::kFloat).mul_(2.0 / 255).sub_(1).contiguous();
}

BoxedSource::BoxedSource(std::shared_ptr<const data::BoxedPictures> pictures,
                         std::vector<int64_t> rows, int64_t size)
    : pictures_(std::move(pictures)), rows_(std::move(rows)), side_(size) {
  require(size >= 32 && size % 32 == 0 && size <= 4096, "detector",
          "expected a size of pictures that is a multiple of 32 up to 4096");
  for (int64_t row : rows_)
    require(row >= 0 && row < static_cast<int64_t>(pictures_->pictures.size()), "detector",
            "expected rows of the pictures");
}

Batch BoxedSource::batch(const std::vector<int64_t>& indices, uint64_t epoch_seed) {
  std::vector<Item> items(indices.size());
  for_each_in_parallel(indices.size(), [&](size_t i) {
    SerialScope serial;
    const int64_t row = rows_[static_cast<size_t>(indices[i])];
    const uint64_t seed =
        epoch_seed == kEvaluationSeed ? kEvaluationSeed : mix_seed(epoch_seed, indices[i]);
    items[i] = make_item(pictures_->pictures[static_cast<size_t>(row)], side_, seed);
  });
  std::vector<at::Tensor> pixels;
  size_t most = 1;
  for (const Item& item : items) {
    pixels.push_back(item.pixels);
    most = std::max(most, item.objects.size());
  }
  Batch out;
  out.size = static_cast<int64_t>(indices.size());
  at::Tensor objects = at::full({out.size, static_cast<int64_t>(most), 5}, -1.0F);
  auto cells = objects.accessor<float, 3>();
  for (int64_t i = 0; i < out.size; ++i) {
    const auto& rows = items[static_cast<size_t>(i)].objects;
    for (size_t j = 0; j < rows.size(); ++j) {
      for (size_t k = 0; k < 5; ++k)
        cells[i][static_cast<int64_t>(j)][static_cast<int64_t>(k)] = rows[j][k];
    }
  }
  out.streams["image"] = {
      {{"pixel_values", at::stack(pixels)}}, at::ones({out.size}, at::kBool), at::ones({out.size})};
  out.targets["objects"] = objects;
  return out;
}

TensorMap BoxedSource::presence() { return {{"image", at::ones({size()}, at::kBool)}}; }

}  // namespace plait::train
