#pragma once
#include "plait/models/detection/detector.h"

/// Which candidate is to find which object, by optimal transport simplified (SimOTA: Ge et al.
/// 2021, "YOLOX", https://arxiv.org/abs/2107.08430), and the loss that follows. Equal to YOLOX's
/// own.
namespace plait::models {

/// Pairs of a candidate and the object that it is to find.
struct Assignment {
  at::Tensor candidates;  ///< [P] int64, rising
  at::Tensor objects;     ///< [P] int64
  at::Tensor overlap;     ///< [P] float: intersection over union of their boxes
};

/// Candidates are those whose cell's centre lies within 1.5 strides of an object's. Each object
/// gets as many as the sum of its ten best overlaps says, those of lowest cost: cross-entropy of
/// √(object · class) plus three times −log overlap. boxes [A, 4], objectness [A] and classes [A, C]
/// as log-odds, cells [A, 3] (centre and stride in pixels).
Assignment assign_simota(const at::Tensor& boxes, const at::Tensor& objectness,
                         const at::Tensor& classes, const at::Tensor& cells,
                         const TrueObjects& truth);

/// 5 (1 − overlap²) + binary cross-entropy of the object's presence + that of its class, each
/// divided by the number of assigned candidates of the batch. `outputs`: boxes [B, A, 4], logits
/// [B, A, 5 + C] (the object's presence at 4, classes from 5 on), cells [B, A, 3].
/// @throws Error as Detector::loss.
at::Tensor simota_loss(const TensorMap& outputs, const at::Tensor& targets, const char* unit);

/// Intersection over union of a[i] and b[i], [N, 4] each → [N], with the gradient.
at::Tensor paired_iou(const at::Tensor& a, const at::Tensor& b);

}  // namespace plait::models
