#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "plait/models/detection/detector.h"

/// Figures of merit of boxes and masks, computed in double on the CPU.
namespace plait::train {

/// Average precision as COCO defines it (Lin et al. 2014, https://arxiv.org/abs/1405.0312): boxes
/// of all sizes, 100 a picture and class, precision at 101 recalls, overlaps from 0.5 to 0.95.
/// Pictures are added one by one. Not thread-safe.
class AveragePrecision {
 public:
  explicit AveragePrecision(int64_t classes);

  /// @throws Error kInvalidArgument for shapes that do not match, values that are not finite or a
  /// class out of range.
  void add(const models::Detections& found, const models::TrueObjects& truth);

  /// ap (mean over classes with objects and overlaps), ap50, ap75, ar100 (recall, mean likewise), n
  /// (objects). @throws Error kInvalidArgument when no picture had an object.
  std::map<std::string, double> result() const;
  /// Mean over the overlaps, by class; −1 for one without objects.
  std::vector<double> per_class() const;

 private:
  struct Curve;
  struct Found {
    double score = 0;
    uint16_t right = 0;  ///< One bit for each overlap.
  };
  Curve curve(int64_t kind, int threshold) const;

  std::vector<std::vector<Found>> found_;  ///< By class, in the order of pictures.
  std::vector<int64_t> objects_;
};

/// How often places of each class were given each class: [K, K] int64, row = target, column =
/// prediction; places with a target of −1 do not count. Add matrices to join batches.
/// @throws Error kInvalidArgument for shapes that do not match or a class out of range.
at::Tensor mask_confusion(const at::Tensor& predicted, const at::Tensor& target, int64_t classes);

/// mean_iou (intersection over union, mean over the classes that occur in the target or the
/// prediction), accuracy (of single places), n (places), from a confusion matrix [K, K].
std::map<std::string, double> mask_metrics(const at::Tensor& confusion);

}  // namespace plait::train
