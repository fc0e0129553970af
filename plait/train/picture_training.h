#pragma once
#include <memory>
#include <string>

#include "plait/models/detection/detector.h"
#include "plait/models/segmentation/segmenter.h"
#include "plait/train/trainable.h"

namespace plait::train {

/// Trains a detector: batches have pixel_values [B, 3, H, W] in the stream, and as target [B, M, 5]
/// the objects' class, left, top, right and bottom in pixels, rows of class −1 being padding.
/// evaluate gives loss, ap, ap50, ap75 and ar100.
class DetectionTraining : public Trainable {
 public:
  explicit DetectionTraining(std::shared_ptr<models::Detector> detector,
                             std::string stream = "image", std::string target = "objects");
  models::Module& module() override { return *detector_; }
  LossOutput loss(const Batch& batch) override;
  Scalars evaluate(BatchSource& source, int64_t batch_size) override;

 private:
  std::shared_ptr<models::Detector> detector_;
  std::string stream_, target_;
};

/// Trains a segmenter: the stream has what it takes (pixel_values or voxel_values), the target
/// [B, H, W] or [B, D, H, W] int64 the class of each place, −1 where unknown. evaluate gives loss,
/// mean_iou and accuracy.
class SegmentationTraining : public Trainable {
 public:
  explicit SegmentationTraining(std::shared_ptr<models::Segmenter> segmenter,
                                std::string stream = "image", std::string target = "mask");
  models::Module& module() override { return *segmenter_; }
  LossOutput loss(const Batch& batch) override;
  Scalars evaluate(BatchSource& source, int64_t batch_size) override;

 private:
  std::shared_ptr<models::Segmenter> segmenter_;
  std::string stream_, target_;
};

}  // namespace plait::train
