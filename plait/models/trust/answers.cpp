#include "plait/models/trust/answers.h"

#include <ATen/ATen.h>

#include "plait/models/trust/questions.h"

namespace plait::models {
namespace {

bool classifies(const TrustFusion& fusion) {
  return fusion.config().questions == 1 && !fusion.config().values;
}

/// [N, Q] Σ_k (F(k) − [target ≤ k])² over the options.
at::Tensor ranked_score(const at::Tensor& below, const at::Tensor& target) {
  at::Tensor option = at::arange(below.size(-1), at::kLong);
  at::Tensor reached = (target.unsqueeze(-1) <= option).to(at::kDouble);
  return (below - reached).square().sum(-1);
}

}  // namespace

at::Tensor confidence_of(const TrustFusion& fusion, const at::Tensor& log_probabilities) {
  if (classifies(fusion)) return std::get<0>(log_probabilities.exp().max(1));
  if (fusion.grid()) return fusion.grid()->share_near_mean(log_probabilities, kRightWithin).prod(1);
  return each_question(log_probabilities, fusion.config().questions).amax(-1).sum(1).exp();
}

at::Tensor wrong_of(const TrustFusion& fusion, const at::Tensor& log_probabilities,
                    const at::Tensor& target) {
  if (classifies(fusion)) return std::get<1>(log_probabilities.exp().max(1)) != target;
  if (const ValueGrid* grid = fusion.grid()) {
    at::Tensor off = grid->standardise(grid->mean(log_probabilities)) - grid->middles_of(target);
    return (off.abs() > kRightWithin).any(1);
  }
  at::Tensor answer = each_question(log_probabilities, fusion.config().questions).argmax(-1);
  return (answer != (target.dim() == 1 ? target.unsqueeze(1) : target)).any(1);
}

at::Tensor loss_of(const TrustFusion& fusion, const at::Tensor& log_probabilities,
                   const at::Tensor& target) {
  if (classifies(fusion)) return (log_probabilities.argmax(1) != target).to(at::kDouble);
  const int64_t questions = fusion.config().questions;
  auto below = [&](const at::Tensor& logs) {
    return logs.to(at::kDouble).exp().unflatten(-1, {questions, -1}).cumsum(-1);
  };
  at::Tensor prior = fusion.log_prior().to(at::kDouble).exp().unflatten(0, {questions, -1});
  at::Tensor f = prior.cumsum(-1);
  // Over targets that the prior draws, F(k) (1 − F(k)) at every option.
  at::Tensor usual = (f * (1 - f)).sum(-1).clamp_min(1e-9);
  at::Tensor places = target.dim() == 1 ? target.unsqueeze(1) : target;
  return (ranked_score(below(log_probabilities), places) / usual).mean(1);
}

}  // namespace plait::models
