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

std::vector<ConformalScores> keep_each(const at::Tensor& scores) {
  std::vector<ConformalScores> out;
  for (int64_t k = 0; k < scores.size(1); ++k)
    out.push_back(ConformalScores::keep(scores.select(1, k)));
  return out;
}

Json write(const std::vector<ConformalScores>& each) {
  Json out = Json::array();
  for (const ConformalScores& scores : each) out.push_back(scores.to_json());
  return out;
}

std::vector<ConformalScores> read(const Json& json, size_t labels) {
  std::vector<ConformalScores> out;
  for (const Json& scores : json.items()) out.push_back(ConformalScores::from_json(scores));
  if (out.empty() || (labels > 0 && out.size() != labels))
    fail(ErrorCode::kCorruptData, "conformal", "expected scores of every label");
  return out;
}

/// [L] limits of every label.
at::Tensor limits_of(const std::vector<ConformalScores>& each, double coverage) {
  std::vector<double> out;
  for (const ConformalScores& scores : each) out.push_back(scores.quantile(coverage));
  return at::tensor(out, at::kDouble);
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
  out.all_ = keep_each(scores);
  for (int64_t k = 0; k < truth.size(1); ++k) {
    at::Tensor own = scores.select(1, k), has = truth.select(1, k) == 1;
    out.present_.push_back(ConformalScores::keep(own.masked_select(has)));
    out.absent_.push_back(ConformalScores::keep(own.masked_select(has.logical_not())));
  }
  if (truth.size(1) > kMostByGroup) return out;
  at::Tensor names = std::get<0>(at::_unique(group));
  for (int64_t g = 0; g < names.size(0); ++g) {
    at::Tensor rows = (group == names[g]).nonzero().squeeze(1);
    if (rows.size(0) >= kMinItems)
      out.groups_[names[g].item<int64_t>()] = keep_each(scores.index_select(0, rows));
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
  at::Tensor limit = at::empty_like(p);
  if (class_conditional) {
    limit.copy_(at::stack({limits_of(absent_, coverage), limits_of(present_, coverage)}, -1));
  } else {
    for (int64_t i = 0; i < p.size(0); ++i) {
      auto own = groups_.find(group[i].item<int64_t>());
      limit[i].copy_(limits_of(own == groups_.end() ? all_ : own->second, coverage).unsqueeze(1));
    }
  }
  // An option's score is the chance of the other one.
  at::Tensor in = at::logical_or(p.flip(-1) <= limit, p >= p.flip(-1));
  return in.flatten(1);
}

Json LabelSets::to_json() const {
  Json out = Json::object({{"all", write(all_)},
                           {"absent", write(absent_)},
                           {"present", write(present_)},
                           {"groups", Json::object({})}});
  for (const auto& [group, each] : groups_) out["groups"][std::to_string(group)] = write(each);
  return out;
}

LabelSets LabelSets::from_json(const Json& json) {
  LabelSets out;
  out.all_ = read(json.at("all"), 0);
  out.absent_ = read(json.at("absent"), out.all_.size());
  out.present_ = read(json.at("present"), out.all_.size());
  for (const auto& [group, each] : json.at("groups").members())
    out.groups_[group_number(group)] = read(each, out.all_.size());
  return out;
}

}  // namespace plait::models
