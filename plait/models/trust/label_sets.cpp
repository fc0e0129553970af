#include "plait/models/trust/label_sets.h"

#include <ATen/ATen.h>

#include "plait/core/error.h"

namespace plait::models {
namespace {

/// [N, L]: the probability of the option that each label's is not.
at::Tensor chance_of_other(const at::Tensor& log_probabilities, const at::Tensor& option) {
  at::Tensor p = at::softmax(log_probabilities.to(at::kDouble).unflatten(1, {-1, 2}), -1);
  return p.gather(2, (1 - option).unsqueeze(2)).squeeze(2);
}

}  // namespace

LabelSets LabelSets::fit(const at::Tensor& log_probabilities, const at::Tensor& target,
                         const at::Tensor& group) {
  at::Tensor truth = target.dim() == 1 ? target.unsqueeze(1) : target;
  require(log_probabilities.dim() == 2 && truth.dim() == 2 && group.dim() == 1 &&
              log_probabilities.size(1) == 2 * truth.size(1) && truth.size(1) > 0 &&
              truth.size(0) == log_probabilities.size(0) && group.size(0) == truth.size(0),
          "conformal", "expected log probabilities [N, 2L], labels and a group for each");
  require(truth.size(0) > 0 && at::logical_or(truth == 0, truth == 1).all().item<bool>(),
          "conformal", "expected items with labels of 0 and 1");
  LabelSets out;
  at::Tensor scores = chance_of_other(log_probabilities, truth);
  out.scores_ = GroupedScores::keep(scores, truth.size(1) > kMostByGroup ? at::Tensor() : group);
  for (int64_t k = 0; k < truth.size(1); ++k) {
    at::Tensor own = scores.select(1, k), has = truth.select(1, k) == 1;
    out.present_.push_back(ConformalScores::keep(own.masked_select(has)));
    out.absent_.push_back(ConformalScores::keep(own.masked_select(has.logical_not())));
  }
  return out;
}

at::Tensor LabelSets::sets(const at::Tensor& log_probabilities, const at::Tensor& group,
                           double coverage, bool class_conditional) const {
  require(coverage > 0 && coverage < 1, "conformal", "expected a coverage between 0 and 1");
  require(fitted(), "conformal", "expected calibrated sets of labels");
  require(log_probabilities.dim() == 2 && log_probabilities.size(1) == 2 * labels() &&
              group.dim() == 1 && group.size(0) == log_probabilities.size(0),
          "conformal", "expected as many labels as in the calibration, and a group for each item");
  at::Tensor p = at::softmax(log_probabilities.to(at::kDouble).unflatten(1, {-1, 2}), -1);
  at::Tensor limit =
      class_conditional
          ? at::stack({limits_of(absent_, coverage), limits_of(present_, coverage)}, -1)
          : scores_.limits(group, coverage).unsqueeze(-1);
  // An option's score is the chance of the other one.
  at::Tensor in = at::logical_or(p.flip(-1) <= limit, p >= p.flip(-1));
  return in.flatten(1);
}

Json LabelSets::to_json() const {
  Json out = scores_.to_json();
  out["absent"] = models::to_json(absent_);
  out["present"] = models::to_json(present_);
  return out;
}

LabelSets LabelSets::from_json(const Json& json) {
  LabelSets out;
  out.scores_ = GroupedScores::from_json(json);
  const auto labels = static_cast<size_t>(out.labels());
  out.absent_ = scores_from_json(json.at("absent"), labels);
  out.present_ = scores_from_json(json.at("present"), labels);
  return out;
}

}  // namespace plait::models
