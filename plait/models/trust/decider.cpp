#include "plait/models/trust/decider.h"

#include <ATen/ATen.h>

#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "plait/core/error.h"
#include "plait/models/trust/questions.h"

namespace plait::models {
namespace {

constexpr std::array<std::pair<Decider, const char*>, 6> kNames{
    {{Decider::kTrust, "trust"},
     {Decider::kJoint, "joint"},
     {Decider::kRobustProduct, "robust_product"},
     {Decider::kProduct, "product"},
     {Decider::kMean, "mean"},
     {Decider::kBestSingle, "best_single"}}};

/// Mean of the experts' probabilities over the streams in `here` [B, M]; never 0, whose log is no
/// number.
at::Tensor mean_of(const Evidence& e, const at::Tensor& here) {
  at::Tensor mask = here.to(at::kFloat).unsqueeze(-1);
  at::Tensor mean = (e.log_probabilities.exp() * mask).sum(1) / mask.sum(1).clamp_min(1);
  return mean.clamp_min(std::numeric_limits<float>::min());
}

}  // namespace

std::string to_string(Decider decider) {
  for (const auto& [value, name] : kNames) {
    if (value == decider) return name;
  }
  fail(ErrorCode::kInvalidArgument, "trust", "expected a decider");
}

Decider decider_from_string(std::string_view name) {
  std::string known;
  for (const auto& [value, text] : kNames) {
    if (name == text) return value;
    known += (known.empty() ? "" : ", ") + std::string(text);
  }
  fail(ErrorCode::kCorruptData, "trust",
       "expected one of " + known + ", got \"" + std::string(name.substr(0, 40)) + "\"");
}

StaticFusions::StaticFusions(at::Tensor log_prior, std::vector<int64_t> ranking, int64_t questions)
    : log_prior_(std::move(log_prior)), ranking_(std::move(ranking)), questions_(questions) {
  require(!ranking_.empty(), "trust", "expected a ranking of the streams");
}

at::Tensor StaticFusions::prior_of(const Evidence& e) const {
  const int64_t count = e.log_probabilities.size(2);
  if (log_prior_.size(0) == count) return log_prior_;
  return at::full({count}, -std::log(static_cast<double>(count)));
}

/// [B, M] bool: the one stream that best_single asks.
at::Tensor StaticFusions::chosen(const Evidence& e) const {
  require(e.present.size(1) == static_cast<int64_t>(ranking_.size()), "trust",
          "expected every stream in the ranking");
  at::Tensor out = at::zeros_like(e.present), open = at::ones_like(e.present.select(1, 0));
  for (int64_t m : ranking_) {
    at::Tensor here = at::logical_and(open, e.present.select(1, m));
    out.select(1, m).copy_(here);
    open = at::logical_and(open, here.logical_not());
  }
  return out;
}

at::Tensor StaticFusions::support(Decider decider, const Evidence& e) const {
  at::Tensor each = e.log_probabilities - prior_of(e);
  at::Tensor here = e.present;
  switch (decider) {
    case Decider::kBestSingle: here = chosen(e); break;
    case Decider::kProduct: break;
    case Decider::kRobustProduct: each = ((1 - kFloor) * each.exp() + kFloor).log(); break;
    case Decider::kMean: {
      at::Tensor all = mean_of(e, e.present).log();
      std::vector<at::Tensor> ratios;
      for (int64_t m = 0; m < e.present.size(1); ++m) {
        at::Tensor others = e.present.clone();
        others.select(1, m).fill_(false);
        at::Tensor without = at::where(others.any(1, /*keepdim=*/true), mean_of(e, others),
                                       prior_of(e).exp().unsqueeze(0));
        ratios.push_back(all - without.log());
      }
      each = at::stack(ratios, 1);
      break;
    }
    default:
      fail(ErrorCode::kInvalidArgument, "trust",
           "expected a static fusion, got " + to_string(decider));
  }
  return at::where(here.unsqueeze(-1), each, at::zeros_like(each));
}

at::Tensor StaticFusions::decide(Decider decider, const Evidence& e) const {
  if (decider == Decider::kMean) return mean_of(e, e.present).log();
  return log_normalise(support(decider, e).sum(1) + prior_of(e), questions_);
}

}  // namespace plait::models
