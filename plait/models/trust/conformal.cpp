#include "plait/models/trust/conformal.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "plait/core/error.h"
#include "plait/core/hash.h"

namespace plait::models {
namespace {

/// One number in [0, 1) per row, from the row's own values.
at::Tensor uniform_of(const at::Tensor& log_probabilities) {
  at::Tensor p = log_probabilities.to(at::kFloat).contiguous();
  at::Tensor out = at::empty({p.size(0)}, at::kDouble);
  for (int64_t i = 0; i < p.size(0); ++i)
    out[i] = ConformalSets::draw(p.const_data_ptr<float>() + i * p.size(1), p.size(1));
  return out;
}

/// [B, K]: mass above each class plus u of its own.
at::Tensor scores_of(const at::Tensor& log_probabilities) {
  at::Tensor p = at::softmax(log_probabilities.to(at::kDouble), -1);
  auto [sorted, order] = p.sort(-1, /*descending=*/true);
  at::Tensor above = sorted.cumsum(-1) - sorted;
  at::Tensor scores = above + uniform_of(log_probabilities).unsqueeze(1) * sorted;
  return at::empty_like(scores).scatter_(1, order, scores);
}

}  // namespace

ConformalSets ConformalSets::fit(const at::Tensor& log_probabilities, const at::Tensor& target,
                                 const at::Tensor& group) {
  require(log_probabilities.dim() == 2 && target.dim() == 1 && group.dim() == 1 &&
              target.size(0) == log_probabilities.size(0) && group.size(0) == target.size(0),
          "conformal", "expected log probabilities [N, K], a target and a group for each");
  require(target.size(0) > 0, "conformal", "expected items");
  ConformalSets out;
  at::Tensor scores =
      scores_of(log_probabilities).gather(1, target.unsqueeze(1)).squeeze(1).contiguous();
  out.all_ = ConformalScores::keep(scores);
  at::Tensor names = std::get<0>(at::_unique(group));
  for (int64_t g = 0; g < names.size(0); ++g) {
    at::Tensor own = scores.masked_select(group == names[g]);
    if (own.size(0) >= kMinItems)
      out.groups_[names[g].item<int64_t>()] = ConformalScores::keep(own);
  }
  for (int64_t k = 0; k < log_probabilities.size(1); ++k)
    out.classes_.push_back(ConformalScores::keep(scores.masked_select(target == k)));
  return out;
}

at::Tensor ConformalSets::sets(const at::Tensor& log_probabilities, const at::Tensor& group,
                               double coverage, bool class_conditional) const {
  require(coverage > 0 && coverage < 1, "conformal", "expected a coverage between 0 and 1");
  require(fitted(), "conformal", "expected calibrated sets");
  at::Tensor scores = scores_of(log_probabilities);
  require(!class_conditional || scores.size(1) == static_cast<int64_t>(classes_.size()),
          "conformal", "expected as many classes as in the calibration");
  at::Tensor limit = at::empty_like(scores);
  if (class_conditional) {
    for (size_t k = 0; k < classes_.size(); ++k)
      limit.select(1, static_cast<int64_t>(k)).fill_(classes_[k].quantile(coverage));
  } else {
    for (int64_t i = 0; i < scores.size(0); ++i)
      limit[i].fill_(this->limit(group[i].item<int64_t>(), coverage));
  }
  at::Tensor out = scores <= limit;
  return out.scatter_(1, log_probabilities.argmax(1, /*keepdim=*/true), true);
}

double ConformalSets::limit(int64_t group, double coverage) const {
  auto own = groups_.find(group);
  return (own == groups_.end() ? all_ : own->second).quantile(coverage);
}

double ConformalSets::limit_of_class(int64_t k, double coverage) const {
  return classes_.at(static_cast<size_t>(k)).quantile(coverage);
}

double ConformalSets::draw(const float* log_probabilities, int64_t classes) {
  uint64_t seed = 0;
  // A few digits: rounding in batches of another size must not change the draw.
  for (int64_t k = 0; k < classes; ++k)
    seed =
        mix_seed(seed, static_cast<uint64_t>(std::llround(1e3 * std::exp(log_probabilities[k]))));
  return static_cast<double>(seed >> 11) * 0x1p-53;
}

Json ConformalSets::to_json() const {
  Json out = Json::object({{"all", all_.to_json()}, {"groups", Json::object({})}});
  for (const auto& [group, scores] : groups_)
    out["groups"][std::to_string(group)] = scores.to_json();
  out["classes"] = Json::array();
  for (const ConformalScores& scores : classes_) out["classes"].push_back(scores.to_json());
  return out;
}

ConformalSets ConformalSets::from_json(const Json& json) {
  ConformalSets out;
  out.all_ = ConformalScores::from_json(json.at("all"));
  for (const auto& [group, scores] : json.at("groups").members())
    out.groups_[group_number(group)] = ConformalScores::from_json(scores);
  for (const Json& scores : json.at("classes").items())
    out.classes_.push_back(ConformalScores::from_json(scores));
  return out;
}

}  // namespace plait::models
