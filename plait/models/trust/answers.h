#pragma once
#include <ATen/core/Tensor.h>

#include "plait/models/trust/trust_fusion.h"

/// How sure answers are and how good, whatever the task. Log probabilities [N, K] as the fusion has
/// them, targets [N] or [N, Q].
namespace plait::models {

/// A value counts as right within so many standard deviations of the training targets.
constexpr double kRightWithin = 0.5;

/// [N]: the probability that the answer is right: the class (the largest), every label, or every
/// value within kRightWithin of its answer.
at::Tensor confidence_of(const TrustFusion& fusion, const at::Tensor& log_probabilities);
/// [N] bool: the answer is not right in that sense.
at::Tensor wrong_of(const TrustFusion& fusion, const at::Tensor& log_probabilities,
                    const at::Tensor& target);
/// [N] double: what the answer loses. Of classes 1 for a wrong one; of labels and values the
/// continuous ranked probability score (of a label: Brier's) as a share of what the prior's is in
/// the mean: 0 for a sure right answer, 1 for one no better than the prior.
at::Tensor loss_of(const TrustFusion& fusion, const at::Tensor& log_probabilities,
                   const at::Tensor& target);

}  // namespace plait::models
