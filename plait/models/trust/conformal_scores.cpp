#include "plait/models/trust/conformal_scores.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "plait/core/error.h"

namespace plait::models {
namespace {

constexpr size_t kKept = 256;

}  // namespace

double ConformalScores::quantile(double coverage) const {
  const double rank = std::ceil(static_cast<double>(count + 1) * coverage - 1e-9);
  if (rank > static_cast<double>(count) || kept.empty())
    return std::numeric_limits<double>::infinity();
  // The next kept score from there on: never a smaller set than promised.
  const double share = rank / static_cast<double>(count) * static_cast<double>(kept.size());
  auto index = static_cast<size_t>(std::ceil(share - 1e-9));
  return kept[std::min(std::max<size_t>(index, 1), kept.size()) - 1];
}

ConformalScores ConformalScores::keep(const at::Tensor& scores) {
  ConformalScores out;
  at::Tensor sorted = std::get<0>(scores.to(at::kDouble).sort());
  out.count = sorted.size(0);
  const auto n = static_cast<size_t>(out.count), kept = std::min(n, kKept);
  for (size_t i = 1; i <= kept; ++i)
    out.kept.push_back(sorted[static_cast<int64_t>((i * n + kept - 1) / kept - 1)].item<double>());
  return out;
}

Json ConformalScores::to_json() const {
  return Json::object({{"n", count}, {"scores", Json(kept)}});
}

ConformalScores ConformalScores::from_json(const Json& json) {
  ConformalScores out;
  out.count = json.at("n").as_int();
  for (const Json& score : json.at("scores").items()) out.kept.push_back(score.as_double());
  if (out.count < static_cast<int64_t>(out.kept.size()) || out.kept.size() > kKept ||
      !std::is_sorted(out.kept.begin(), out.kept.end())) {
    fail(ErrorCode::kCorruptData, "conformal", "expected at most 256 rising scores of n items");
  }
  return out;
}

std::vector<ConformalScores> keep_each(const at::Tensor& scores) {
  std::vector<ConformalScores> out;
  for (int64_t c = 0; c < scores.size(1); ++c)
    out.push_back(ConformalScores::keep(scores.select(1, c)));
  return out;
}

at::Tensor limits_of(const std::vector<ConformalScores>& each, double coverage) {
  std::vector<double> out;
  for (const ConformalScores& scores : each) out.push_back(scores.quantile(coverage));
  return at::tensor(out, at::kDouble);
}

Json to_json(const std::vector<ConformalScores>& each) {
  Json out = Json::array();
  for (const ConformalScores& scores : each) out.push_back(scores.to_json());
  return out;
}

std::vector<ConformalScores> scores_from_json(const Json& json, size_t count) {
  std::vector<ConformalScores> out;
  for (const Json& scores : json.items()) out.push_back(ConformalScores::from_json(scores));
  if (out.empty() || (count > 0 && out.size() != count))
    fail(ErrorCode::kCorruptData, "conformal", "expected scores of every value or label");
  return out;
}

GroupedScores GroupedScores::keep(const at::Tensor& scores, const at::Tensor& group) {
  GroupedScores out;
  out.all_ = keep_each(scores);
  if (!group.defined()) return out;
  at::Tensor names = std::get<0>(at::_unique(group));
  for (int64_t g = 0; g < names.size(0); ++g) {
    at::Tensor rows = (group == names[g]).nonzero().squeeze(1);
    if (rows.size(0) >= kMinItems)
      out.groups_[names[g].item<int64_t>()] = keep_each(scores.index_select(0, rows));
  }
  return out;
}

at::Tensor GroupedScores::limits(const at::Tensor& group, double coverage) const {
  at::Tensor out = at::empty({group.size(0), columns()}, at::kDouble);
  for (int64_t i = 0; i < group.size(0); ++i) {
    auto own = groups_.find(group[i].item<int64_t>());
    out[i].copy_(limits_of(own == groups_.end() ? all_ : own->second, coverage));
  }
  return out;
}

Json GroupedScores::to_json() const {
  Json out = Json::object({{"all", models::to_json(all_)}, {"groups", Json::object({})}});
  for (const auto& [group, each] : groups_)
    out["groups"][std::to_string(group)] = models::to_json(each);
  return out;
}

GroupedScores GroupedScores::from_json(const Json& json) {
  GroupedScores out;
  out.all_ = scores_from_json(json.at("all"), 0);
  for (const auto& [group, each] : json.at("groups").members())
    out.groups_[group_number(group)] = scores_from_json(each, out.all_.size());
  return out;
}

int64_t group_number(const std::string& name) {
  char* end = nullptr;
  const int64_t number = std::strtoll(name.c_str(), &end, 10);
  if (name.empty() || *end != 0)
    fail(ErrorCode::kCorruptData, "conformal", "expected a number as name of a group");
  return number;
}

}  // namespace plait::models
