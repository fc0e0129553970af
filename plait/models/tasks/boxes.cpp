#include "plait/models/tasks/boxes.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "plait/core/error.h"
#include "plait/core/tensor_map.h"

namespace plait::models {
namespace {

constexpr const char* kUnit = "boxes";

/// float64 [N, 4] on the CPU, in one piece.
at::Tensor checked_boxes(const at::Tensor& boxes) {
  if (!boxes.defined() || boxes.dim() != 2 || boxes.size(1) != 4 ||
      !at::isFloatingType(boxes.scalar_type()))
    fail(ErrorCode::kInvalidArgument, kUnit,
         "expected boxes [N, 4], got " + (boxes.defined() ? describe(boxes) : "none"));
  at::Tensor values = boxes.detach().to(at::kCPU, at::kDouble).contiguous();
  if (!values.isfinite().all().item<bool>())
    fail(ErrorCode::kInvalidArgument, kUnit, "expected finite boxes, got NaN or infinity");
  return values;
}

/// [N] of the wanted type on the CPU.
at::Tensor checked_row(const at::Tensor& row, int64_t count, at::ScalarType type,
                       const char* what) {
  if (!row.defined() || row.dim() != 1 || row.size(0) != count)
    fail(ErrorCode::kInvalidArgument, kUnit,
         std::string("expected ") + what + " [" + std::to_string(count) + "], got " +
             (row.defined() ? describe(row) : "none"));
  at::Tensor values = row.detach().to(at::kCPU, type).contiguous();
  if (type == at::kDouble && !values.isfinite().all().item<bool>())
    fail(ErrorCode::kInvalidArgument, kUnit,
         std::string("expected finite ") + what + ", got NaN or infinity");
  return values;
}

double area(const double* box) {
  return std::max(box[2] - box[0], 0.0) * std::max(box[3] - box[1], 0.0);
}

double overlap(const double* a, const double* b) {
  double width = std::min(a[2], b[2]) - std::max(a[0], b[0]);
  double height = std::min(a[3], b[3]) - std::max(a[1], b[1]);
  if (width <= 0 || height <= 0) return 0;
  double both = width * height, all = area(a) + area(b) - both;
  return all > 0 ? both / all : 0;
}

at::Tensor suppress(const at::Tensor& given, const at::Tensor& scores, const int64_t* classes,
                    double iou_threshold, int64_t limit) {
  const at::Tensor boxes = checked_boxes(given);
  const at::Tensor ranked = checked_row(scores, boxes.size(0), at::kDouble, "scores");
  const auto* box = boxes.const_data_ptr<double>();
  const auto* score = ranked.const_data_ptr<double>();
  std::vector<int64_t> order(static_cast<size_t>(boxes.size(0))), kept;
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return score[a] > score[b]; });
  for (int64_t candidate : order) {
    if (limit >= 0 && static_cast<int64_t>(kept.size()) >= limit) break;
    bool hidden = std::any_of(kept.begin(), kept.end(), [&](int64_t other) {
      return (!classes || classes[candidate] == classes[other]) &&
             overlap(box + 4 * candidate, box + 4 * other) > iou_threshold;
    });
    if (!hidden) kept.push_back(candidate);
  }
  return at::tensor(kept, at::kLong);
}

}  // namespace

at::Tensor box_iou(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor rows = checked_boxes(a), columns = checked_boxes(b);
  at::Tensor out = at::empty({rows.size(0), columns.size(0)}, at::kDouble);
  auto* value = out.mutable_data_ptr<double>();
  for (int64_t i = 0; i < rows.size(0); ++i) {
    for (int64_t j = 0; j < columns.size(0); ++j)
      *value++ =
          overlap(rows.const_data_ptr<double>() + 4 * i, columns.const_data_ptr<double>() + 4 * j);
  }
  return out;
}

at::Tensor nms(const at::Tensor& boxes, const at::Tensor& scores, double iou_threshold,
               int64_t limit) {
  return suppress(boxes, scores, nullptr, iou_threshold, limit);
}

at::Tensor batched_nms(const at::Tensor& boxes, const at::Tensor& scores, const at::Tensor& classes,
                       double iou_threshold, int64_t limit) {
  const at::Tensor of = checked_row(classes, boxes.defined() && boxes.dim() > 0 ? boxes.size(0) : 0,
                                    at::kLong, "classes");
  return suppress(boxes, scores, of.const_data_ptr<int64_t>(), iou_threshold, limit);
}

at::Tensor clip_boxes(const at::Tensor& boxes, double height, double width) {
  checked_boxes(boxes);
  at::Tensor high = at::tensor({width, height, width, height}, boxes.options());
  return at::minimum(boxes.clamp_min(0), high);
}

}  // namespace plait::models
