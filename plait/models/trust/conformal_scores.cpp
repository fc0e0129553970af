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

int64_t group_number(const std::string& name) {
  char* end = nullptr;
  const int64_t number = std::strtoll(name.c_str(), &end, 10);
  if (name.empty() || *end != 0)
    fail(ErrorCode::kCorruptData, "conformal", "expected a number as name of a group");
  return number;
}

}  // namespace plait::models
