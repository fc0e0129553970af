#include "plait/models/trust/candidate_sets.h"

#include <ATen/ATen.h>

#include <cmath>
#include <utility>

#include "plait/core/error.h"

namespace plait::models {

void CandidateSets::add(int64_t candidates, ConformalSets sets) {
  require(candidates >= 2 && sets.fitted(), "conformal",
          "expected calibrated sets of at least two candidates");
  by_count_[candidates] = std::move(sets);
}

int64_t CandidateSets::nearest(int64_t candidates) const {
  require(fitted(), "conformal", "expected calibrated sets of candidates");
  int64_t out = by_count_.begin()->first;
  auto ratio = [&](int64_t count) {
    return std::abs(std::log(static_cast<double>(candidates) / static_cast<double>(count)));
  };
  for (const auto& [count, sets] : by_count_) {
    if (ratio(count) < ratio(out)) out = count;
  }
  return out;
}

at::Tensor CandidateSets::sets(const at::Tensor& log_probabilities, const at::Tensor& group,
                               double coverage) const {
  require(log_probabilities.dim() == 2 && log_probabilities.size(1) > 0, "conformal",
          "expected log probabilities of candidates");
  return by_count_.at(nearest(log_probabilities.size(1))).sets(log_probabilities, group, coverage);
}

Json CandidateSets::to_json() const {
  Json out = Json::object({});
  for (const auto& [count, sets] : by_count_) out[std::to_string(count)] = sets.to_json();
  return out;
}

CandidateSets CandidateSets::from_json(const Json& json) {
  CandidateSets out;
  for (const auto& [name, sets] : json.members()) {
    const int64_t count = group_number(name);
    ConformalSets read = ConformalSets::from_json(sets);
    if (count < 2 || !read.fitted())
      fail(ErrorCode::kCorruptData, "conformal", "expected scores of at least two candidates");
    out.by_count_[count] = std::move(read);
  }
  return out;
}

}  // namespace plait::models
