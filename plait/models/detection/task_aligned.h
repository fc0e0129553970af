#pragma once
#include "plait/models/detection/simota.h"

/// Task-aligned assignment (Feng et al. 2021, "TOOD", https://arxiv.org/abs/2108.07755): a
/// candidate is to find the object that it both names and places well.
namespace plait::models {

/// Pairs as an Assignment, and how much each counts.
struct AlignedAssignment {
  Assignment pairs;
  at::Tensor weight;  ///< [P] float in [0, 1]: the alignment, scaled to the object's best overlap
};

/// Each object gets, of the candidates whose cell's centre lies in its box, the 13 of highest
/// alignment: score of the object's class times overlap to the sixth. One that several want goes to
/// the object that it overlaps most. boxes [A, 4], scores [A, C] in [0, 1], cells [A, 3].
AlignedAssignment assign_task_aligned(const at::Tensor& boxes, const at::Tensor& scores,
                                      const at::Tensor& cells, const TrueObjects& truth);

/// 0.5 binary cross-entropy of the classes against the alignment + 7.5 (1 − complete overlap) + 1.5
/// of the distributions' cross-entropy at the two whole strides around each true distance (Li et
/// al. 2020, https://arxiv.org/abs/2006.04388), the latter two weighted by the alignment; all
/// divided by its sum. `outputs`: boxes [B, A, 4], logits [B, A, 4·reg_max + C], cells [B, A, 3].
/// @throws Error as Detector::loss.
at::Tensor task_aligned_loss(const TensorMap& outputs, const at::Tensor& targets, int64_t reg_max,
                             const char* unit);

/// Intersection over union less the distance of the centres and of the shapes (Zheng et al. 2020,
/// https://arxiv.org/abs/1911.08287) of a[i] and b[i], [N, 4] each → [N], with the gradient.
at::Tensor complete_iou(const at::Tensor& a, const at::Tensor& b);

}  // namespace plait::models
