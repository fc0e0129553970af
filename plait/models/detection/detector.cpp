#include "plait/models/detection/detector.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "plait/core/error.h"
#include "plait/models/encoders/image_input.h"
#include "plait/models/tasks/boxes.h"

namespace plait::models {

std::vector<Detections> Detector::detect(const at::Tensor& pixel_values,
                                         const DetectOptions& options) {
  at::NoGradGuard no_grad;
  TensorMap outputs = forward({{"pixel_values", pixel_values}});
  return select_detections(outputs.at("boxes"), outputs.at("scores"), options);
}

std::vector<Detections> select_detections(const at::Tensor& boxes, const at::Tensor& scores,
                                          const DetectOptions& options) {
  if (boxes.dim() != 3 || boxes.size(2) != 4 || scores.dim() != 3 || scores.size(2) < 1 ||
      scores.size(0) != boxes.size(0) || scores.size(1) != boxes.size(1)) {
    fail(ErrorCode::kInvalidArgument, "detector",
         "expected boxes [B, A, 4] and scores [B, A, C], got " + describe(boxes) + " and " +
             describe(scores));
  }
  require(options.max_detections >= 0 && options.max_candidates >= 1, "detector",
          "expected max_detections of at least 0 and max_candidates of at least 1");
  std::vector<Detections> found;
  for (int64_t i = 0; i < boxes.size(0); ++i) {
    auto [best, kind] = scores[i].to(at::kFloat).max(1);
    // A score or box that is not a number is no detection.
    at::Tensor good =
        at::logical_and(best >= options.score_threshold, at::isfinite(boxes[i]).all(1));
    at::Tensor kept = good.nonzero().squeeze(1);
    if (kept.size(0) > options.max_candidates) {
      kept = kept.index_select(
          0, std::get<1>(best.index_select(0, kept).topk(options.max_candidates)));
    }
    Detections d{boxes[i].to(at::kFloat).index_select(0, kept), best.index_select(0, kept),
                 kind.index_select(0, kept)};
    at::Tensor groups = options.class_agnostic ? at::zeros_like(d.classes) : d.classes;
    at::Tensor order =
        batched_nms(d.boxes, d.scores, groups, options.iou_threshold, options.max_detections)
            .to(boxes.device());
    found.push_back({d.boxes.index_select(0, order), d.scores.index_select(0, order),
                     d.classes.index_select(0, order)});
  }
  return found;
}

const at::Tensor& detector_pixels(const TensorMap& inputs, int64_t stride, const char* unit) {
  const at::Tensor& x = pixel_values(inputs, 3, stride, unit);
  if (x.size(2) % stride != 0 || x.size(3) % stride != 0) {
    fail(ErrorCode::kInvalidArgument, unit,
         "expected a height and width that are multiples of " + std::to_string(stride) + ", got " +
             describe(x));
  }
  return x;
}

std::vector<TrueObjects> true_objects(const at::Tensor& targets, int64_t batch, int64_t classes,
                                      const at::Tensor& like, const char* unit) {
  if (targets.dim() != 3 || targets.size(0) != batch || targets.size(2) != 5) {
    fail(ErrorCode::kInvalidArgument, unit,
         "expected targets [" + std::to_string(batch) + ", M, 5], got " + describe(targets));
  }
  std::vector<TrueObjects> out;
  at::Tensor all = targets.detach().to(at::kCPU, at::kFloat);
  for (int64_t i = 0; i < batch; ++i) {
    at::Tensor rows = all[i].index_select(0, (all[i].select(1, 0) != -1).nonzero().squeeze(1));
    at::Tensor kind = rows.select(1, 0), boxes = rows.slice(1, 1);
    at::Tensor known = at::logical_and(kind >= 0, kind < classes);
    at::Tensor extent = boxes.slice(1, 2) - boxes.slice(1, 0, 2);
    require(known.all().item<bool>(), unit,
            "expected target classes from 0 below the number of "
            "classes, or -1 for padding");
    require((extent > 0).all().item<bool>() && at::isfinite(boxes).all().item<bool>(), unit,
            "expected target boxes with left < right and top < bottom");
    out.push_back({boxes.to(like.device()), kind.to(at::kLong).to(like.device())});
  }
  return out;
}

}  // namespace plait::models
