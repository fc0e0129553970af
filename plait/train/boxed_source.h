#pragma once
#include <memory>
#include <vector>

#include "plait/data/datasets/boxed_pictures.h"
#include "plait/train/trainable.h"

namespace plait::train {

/// uint8 RGB [H, W, 3] → float [3, H, W] in [-1, 1], as detectors of our own are trained.
at::Tensor detector_pixels(const at::Tensor& rgb);

/// Pictures with boxes as DetectionTraining takes them: each decoded when it is asked for and
/// fitted into the upper left of a square. While training it is also mirrored by chance, scaled by
/// 0.7 to 1.4 and shifted; objects of which less than a quarter or fewer than two pixels remain are
/// dropped.
class BoxedSource : public BatchSource {
 public:
  /// `rows`: which pictures. @throws Error kInvalidArgument for a size that is no multiple of 32 or
  /// rows out of range.
  BoxedSource(std::shared_ptr<const data::BoxedPictures> pictures, std::vector<int64_t> rows,
              int64_t size);
  int64_t size() const override { return static_cast<int64_t>(rows_.size()); }
  Batch batch(const std::vector<int64_t>& indices, uint64_t epoch_seed) override;
  /// Every picture has the one stream.
  TensorMap presence() override;

 private:
  std::shared_ptr<const data::BoxedPictures> pictures_;
  std::vector<int64_t> rows_;
  int64_t side_;
};

}  // namespace plait::train
