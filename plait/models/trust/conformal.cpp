#include "plait/models/trust/conformal.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "plait/core/error.h"
#include "plait/core/hash.h"

namespace plait::models {
namespace {

constexpr size_t kKept = 256;
constexpr double kEverything = std::numeric_limits<double>::infinity();

/// One number in [0, 1) per row, from the row's own values.
at::Tensor uniform_of(const at::Tensor& log_probabilities) {
  at::Tensor p = log_probabilities.to(at::kFloat).contiguous();
  at::Tensor out = at::empty({p.size(0)}, at::kDouble);
  for (int64_t i = 0; i < p.size(0); ++i) {
    uint64_t seed = 0;
    const float* row = p.const_data_ptr<float>() + i * p.size(1);
    // A few digits: rounding in batches of another size must not change the draw.
    for (int64_t k = 0; k < p.size(1); ++k)
      seed = mix_seed(seed, static_cast<uint64_t>(std::llround(1e3 * std::exp(row[k]))));
    out[i] = static_cast<double>(seed >> 11) * 0x1p-53;
  }
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

double ConformalSets::Scores::quantile(double coverage) const {
  const double rank = std::ceil(static_cast<double>(count + 1) * coverage - 1e-9);
  if (rank > static_cast<double>(count) || kept.empty()) return kEverything;
  // The next kept score from there on: never a smaller set than promised.
  const double share = rank / static_cast<double>(count) * static_cast<double>(kept.size());
  auto index = static_cast<size_t>(std::ceil(share - 1e-9));
  return kept[std::min(std::max<size_t>(index, 1), kept.size()) - 1];
}

ConformalSets::Scores ConformalSets::keep(const at::Tensor& scores) {
  Scores out;
  at::Tensor sorted = std::get<0>(scores.to(at::kDouble).sort());
  out.count = sorted.size(0);
  const auto n = static_cast<size_t>(out.count), kept = std::min(n, kKept);
  for (size_t i = 1; i <= kept; ++i)
    out.kept.push_back(sorted[static_cast<int64_t>((i * n + kept - 1) / kept - 1)].item<double>());
  return out;
}

ConformalSets ConformalSets::fit(const at::Tensor& log_probabilities, const at::Tensor& target,
                                 const at::Tensor& group) {
  require(log_probabilities.dim() == 2 && target.dim() == 1 && group.dim() == 1 &&
              target.size(0) == log_probabilities.size(0) && group.size(0) == target.size(0),
          "conformal", "expected log probabilities [N, K], a target and a group for each");
  require(target.size(0) > 0, "conformal", "expected items");
  ConformalSets out;
  at::Tensor scores =
      scores_of(log_probabilities).gather(1, target.unsqueeze(1)).squeeze(1).contiguous();
  out.all_ = keep(scores);
  at::Tensor names = std::get<0>(at::_unique(group));
  for (int64_t g = 0; g < names.size(0); ++g) {
    at::Tensor own = scores.masked_select(group == names[g]);
    if (own.size(0) >= kMinItems) out.groups_[names[g].item<int64_t>()] = keep(own);
  }
  for (int64_t k = 0; k < log_probabilities.size(1); ++k)
    out.classes_.push_back(keep(scores.masked_select(target == k)));
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
    for (int64_t i = 0; i < scores.size(0); ++i) {
      auto own = groups_.find(group[i].item<int64_t>());
      limit[i].fill_((own == groups_.end() ? all_ : own->second).quantile(coverage));
    }
  }
  at::Tensor out = scores <= limit;
  return out.scatter_(1, log_probabilities.argmax(1, /*keepdim=*/true), true);
}

Json ConformalSets::write(const Scores& scores) {
  return Json::object({{"n", scores.count}, {"scores", Json(scores.kept)}});
}

ConformalSets::Scores ConformalSets::read(const Json& json) {
  Scores out;
  out.count = json.at("n").as_int();
  for (const Json& score : json.at("scores").items()) out.kept.push_back(score.as_double());
  if (out.count < static_cast<int64_t>(out.kept.size()) || out.kept.size() > kKept ||
      !std::is_sorted(out.kept.begin(), out.kept.end())) {
    fail(ErrorCode::kCorruptData, "conformal", "expected at most 256 rising scores of n items");
  }
  return out;
}

Json ConformalSets::to_json() const {
  Json out = Json::object({{"all", write(all_)}, {"groups", Json::object({})}});
  for (const auto& [group, scores] : groups_) out["groups"][std::to_string(group)] = write(scores);
  out["classes"] = Json::array();
  for (const Scores& scores : classes_) out["classes"].push_back(write(scores));
  return out;
}

ConformalSets ConformalSets::from_json(const Json& json) {
  ConformalSets out;
  out.all_ = read(json.at("all"));
  for (const auto& [group, scores] : json.at("groups").members()) {
    char* end = nullptr;
    const int64_t number = std::strtoll(group.c_str(), &end, 10);
    if (group.empty() || *end != 0)
      fail(ErrorCode::kCorruptData, "conformal", "expected a number as name of a group");
    out.groups_[number] = read(scores);
  }
  for (const Json& scores : json.at("classes").items()) out.classes_.push_back(read(scores));
  return out;
}

}  // namespace plait::models
