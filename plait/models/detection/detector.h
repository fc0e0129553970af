#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "plait/models/model.h"

namespace plait::models {

/// Which boxes of a picture are kept.
struct DetectOptions {
  double score_threshold = 0.25;  ///< A box is kept from this score on.
  double iou_threshold = 0.45;    ///< Of two boxes that overlap more, the better one stays.
  int64_t max_detections = 300;
  bool class_agnostic = false;  ///< Boxes of different classes suppress each other, too.
  /// Of more boxes above the threshold only so many of the best are looked at.
  int64_t max_candidates = 30000;
};

/// The objects found in one picture, best first.
struct Detections {
  at::Tensor boxes;    ///< [N, 4] float: left, top, right, bottom in pixels of the model's input
  at::Tensor scores;   ///< [N] float in [0, 1]
  at::Tensor classes;  ///< [N] int64
};

/// A network that finds objects. forward takes pixel_values [B, 3, H, W], H and W multiples of
/// `stride()`, and gives boxes [B, A, 4] (left, top, right, bottom in pixels), scores [B, A, C] in
/// [0, 1], each for A candidates, and what its loss needs.
class Detector : public Model {
 public:
  virtual int64_t classes() const = 0;
  virtual int64_t stride() const { return 32; }
  /// The training loss, a mean over the batch's objects. `outputs` as forward gave them; `targets`
  /// [B, M, 5]: class, left, top, right, bottom in pixels; rows of class −1 are padding.
  /// @throws Error kInvalidArgument for a wrong shape, a class out of range or a box without area.
  virtual at::Tensor loss(const TensorMap& outputs, const at::Tensor& targets) const = 0;
  /// The objects of each picture. Call it in eval mode.
  std::vector<Detections> detect(const at::Tensor& pixel_values, const DetectOptions& options = {});
};

/// Keeps of each picture the candidates whose best class scores enough, after non-maximum
/// suppression. boxes [B, A, 4], scores [B, A, C].
std::vector<Detections> select_detections(const at::Tensor& boxes, const at::Tensor& scores,
                                          const DetectOptions& options);

/// The pixel_values, checked. @throws Error kInvalidArgument naming `unit`.
const at::Tensor& detector_pixels(const TensorMap& inputs, int64_t stride, const char* unit);

/// The targets of one picture without padding.
struct TrueObjects {
  at::Tensor boxes;    ///< [G, 4] float
  at::Tensor classes;  ///< [G] int64
};
/// Takes checked targets [B, M, 5] apart, on the device of `like`.
std::vector<TrueObjects> true_objects(const at::Tensor& targets, int64_t batch, int64_t classes,
                                      const at::Tensor& like, const char* unit);

}  // namespace plait::models
