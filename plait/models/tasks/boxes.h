#pragma once
#include <ATen/core/Tensor.h>

/// Boxes in pictures, shared by detectors. A box is [x1, y1, x2, y2] with x2 ≥ x1 and y2 ≥ y1; one
/// that is turned inside out has area 0. Boxes are floating [N, 4] on any device, all values
/// finite. Thread-safe. @throws Error kInvalidArgument for other shapes and for NaN or infinity.
namespace plait::models {

/// Intersection over union of every box of `a` [N, 4] with every box of `b` [M, 4]: float64 [N, M]
/// on the CPU. 0 where both are empty.
at::Tensor box_iou(const at::Tensor& a, const at::Tensor& b);

/// Greedy non-maximum suppression: the indices of the boxes to keep, int64 [K] on the CPU, best
/// score first (equal scores: lower index first). A box is dropped when its intersection over union
/// with a kept one is above `iou_threshold`. `limit` < 0 keeps all, else at most so many; scores
/// are [N]. Time grows with N · K.
at::Tensor nms(const at::Tensor& boxes, const at::Tensor& scores, double iou_threshold,
               int64_t limit = -1);

/// The same with `classes` int64 [N]: a box is dropped only for a kept one of its own class.
at::Tensor batched_nms(const at::Tensor& boxes, const at::Tensor& scores, const at::Tensor& classes,
                       double iou_threshold, int64_t limit = -1);

/// Boxes with x in [0, width] and y in [0, height], on their own device.
at::Tensor clip_boxes(const at::Tensor& boxes, double height, double width);

}  // namespace plait::models
