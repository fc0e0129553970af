#include "plait/train/trust/trust_choices.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <cmath>

#include "plait/core/hash.h"
#include "plait/models/trust/answers.h"
#include "plait/models/trust/evidence.h"
#include "plait/models/trust/questions.h"
#include "plait/train/golden_section.h"
#include "plait/train/trust/risk_control.h"

namespace plait::train {
namespace {

using models::Evidence;
using models::TrustFusion;

constexpr double kLeastScale = 0.05, kLargestScale = 5;
constexpr int64_t kScaleItems = 4000;   ///< To fit the scale of a subset
constexpr int64_t kChoiceItems = 4000;  ///< Of each kind, to choose how far something is heard
constexpr size_t kBankKind = 1;         ///< Among the kinds of items
constexpr double kLevel = 0.05;         ///< Of one-sided bounds
constexpr int64_t kFewItems = 30;       ///< A subset with fewer takes the scale of its size

/// The a in [kLeastScale, kLargestScale] that minimises the mean NLL of softmax(a · support +
/// prior) [N, K], convex in a, by Newton's method between bounds that close in on it.
double fit_softmax_scale(const at::Tensor& support, const at::Tensor& prior,
                         const at::Tensor& target) {
  // Items along the last dimension: few classes would leave most of a vector register empty.
  const at::Tensor s = support.t().contiguous(), p = prior.t().contiguous();
  const double of_target = s.gather(0, target.unsqueeze(0)).mean(at::kDouble).item<double>();
  double low = kLeastScale, high = kLargestScale, a = 1;
  for (int step = 0; step < 40 && high - low > 1e-5 * low; ++step) {
    const at::Tensor weight = at::softmax(at::add(p, s, a), 0);
    const at::Tensor weighted = weight * s;
    const at::Tensor mean = weighted.sum(0);
    const double slope = mean.mean(at::kDouble).item<double>() - of_target;
    (slope > 0 ? high : low) = a;
    const double curvature =
        ((weighted * s).sum(0) - mean.square()).mean(at::kDouble).item<double>();
    double next = curvature > 0 ? a - slope / curvature : low;
    // A step onto a bound would not close in from its side.
    if (!(next > low && next < high)) next = (low + high) / 2;
    const double moved = std::abs(next - a);
    a = next;
    if (moved < 1e-6 * a) break;
  }
  return a;
}

/// The a that minimises the loss of softmax(a · support + log prior). Of values by their ranked
/// score: a likelihood would flatten all densities for a few that miss.
double fit_scale(const TrustFusion& trust, const at::Tensor& support, const at::Tensor& target) {
  if (!trust.grid()) {
    const auto [scores, answers] = models::by_question(support, target);
    const auto prior = models::by_question(trust.log_prior().expand_as(support), target).first;
    return fit_softmax_scale(scores, prior, answers);
  }
  auto loss = [&](double log_a) {
    at::Tensor logs = trust.normalise(support * std::exp(log_a) + trust.log_prior());
    return loss_of(trust, logs, target).mean().item<double>();
  };
  return std::exp(golden_section(loss, std::log(kLeastScale), std::log(kLargestScale), 1e-4));
}

/// Every subset of up to 6 streams for itself; of more streams by the number that is present.
void fit_scales_of(TrustFusion& trust, const Evidence& items, const at::Tensor& targets,
                   const TrustOptions& options) {
  auto draw = at::detail::createCPUGenerator(mix_seed(options.seed, 92));
  at::Tensor some = at::randperm(targets.size(0), draw).slice(0, 0, kScaleItems);
  const Evidence all = models::select_rows(items, some);
  const at::Tensor target = targets.index_select(0, some);
  const auto streams = static_cast<int64_t>(trust.config().streams.size());
  const bool each = streams <= 6;
  std::vector<double> by_size(static_cast<size_t>(streams) + 1, 1.0);
  auto fit = [&](const at::Tensor& hidden) {
    Evidence e = all;
    e.present = at::logical_and(e.present, hidden);
    at::Tensor rows = e.present.any(1).nonzero().squeeze(1);
    e = models::select_rows(e, rows);
    at::Tensor support = trust.support(e).sum(1);
    return std::make_pair(fit_scale(trust, support, target.index_select(0, rows)), rows.size(0));
  };
  for (int64_t size = 1; size <= streams; ++size) {
    auto generator = at::detail::createCPUGenerator(mix_seed(options.seed, 91, size));
    at::Tensor order =
        at::argsort(at::argsort(at::rand(all.present.sizes(), generator), 1, false), 1, false);
    by_size[static_cast<size_t>(size)] = fit(order < size).first;
  }
  for (int64_t subset = 1; subset < (int64_t{1} << streams); ++subset) {
    at::Tensor bits = at::zeros({1, streams}, at::kBool);
    int64_t size = 0;
    for (int64_t m = 0; m < streams; ++m) {
      if (subset >> m & 1) bits[0][m] = true, ++size;
    }
    double scale = by_size[static_cast<size_t>(size)];
    if (each) {
      auto [own, rows] = fit(bits);
      if (rows >= kFewItems) scale = own;
    }
    trust.set_scale(subset, scale);
  }
}

/// Losses (of classes: errors) of one kind of items.
struct Losses {
  at::Tensor loss, item;  ///< [N]
};

/// What the held-out fusions make of items new to them: of clean items, of the bank and, where
/// there are any, of encoded copies.
std::vector<Losses> held_out_losses(const TrustFit& fit, uint64_t seed) {
  struct Kind {
    const Evidence* evidence;
    const at::Tensor *target, *item;
  };
  std::vector<Kind> kinds = {{&fit.clean, &fit.clean_target, &fit.clean_item},
                             {&fit.damaged, &fit.damaged_target, &fit.damaged_item}};
  if (fit.copies_target.defined())
    kinds.push_back({&fit.copies, &fit.copies_target, &fit.copies_item});
  std::vector<at::Tensor> support, target, item;
  for (const Kind& kind : kinds) {
    std::vector<at::Tensor> says, answers, items;
    auto generator = at::detail::createCPUGenerator(seed);
    at::Tensor some = at::randperm(kind.target->size(0), generator).slice(0, 0, kChoiceItems);
    at::Tensor gates = fit.item_gates.index_select(0, kind.item->index_select(0, some));
    for (size_t g = 0; g < fit.held_out.size(); ++g) {
      at::Tensor rows = some.masked_select(gates == static_cast<int64_t>(g));
      says.push_back(fit.held_out[g]->support(models::select_rows(*kind.evidence, rows)).sum(1));
      answers.push_back(kind.target->index_select(0, rows));
      items.push_back(kind.item->index_select(0, rows));
    }
    support.push_back(at::cat(says));
    target.push_back(at::cat(answers));
    item.push_back(at::cat(items));
  }
  // The best class is the same at every scale, the best density is not.
  const TrustFusion& trust = *fit.trust;
  const double scale = trust.grid() ? fit_scale(trust, support[kBankKind], target[kBankKind]) : 1;
  std::vector<Losses> out;
  for (size_t k = 0; k < support.size(); ++k) {
    at::Tensor logs = trust.normalise(scale * support[k] + trust.log_prior());
    out.push_back({loss_of(trust, logs, target[k]), item[k]});
  }
  return out;
}

/// How much more is lost than before, kinds counting alike, and how much more by chance.
struct Added {
  double mean = 0, half_width = 0;
};
Added added_by(const std::vector<Losses>& with, const std::vector<Losses>& without,
               bool with_bank) {
  Added out;
  double squares = 0;
  for (size_t k = 0; k < with.size(); ++k) {
    if (k == kBankKind && !with_bank) continue;
    const PairedBound bound =
        paired_bound((with[k].loss - without[k].loss).to(at::kDouble), with[k].item, kLevel);
    out.mean += bound.mean;
    squares += bound.half_width * bound.half_width;
  }
  out.half_width = std::sqrt(squares);
  return out;
}

void set_everywhere(TrustFit& fit, void (TrustFusion::*set)(double), double value) {
  for (const auto& part : fit.held_out) (part.get()->*set)(value);
  (fit.trust.get()->*set)(value);
}

}  // namespace

void choose_strength(TrustFit& fit, const TrustOptions& options) {
  const uint64_t seed = mix_seed(options.seed, 93);
  set_everywhere(fit, &TrustFusion::set_strength, 0);
  const std::vector<Losses> without = held_out_losses(fit, seed);
  double best = 0, most = 0;
  for (double strength : {0.25, 0.5, 0.75, 1.0}) {
    set_everywhere(fit, &TrustFusion::set_strength, strength);
    const std::vector<Losses> with = held_out_losses(fit, seed);
    const double gained = -added_by(with, without, /*with_bank=*/true).mean;
    const Added added = added_by(with, without, /*with_bank=*/false);
    if (added.mean <= added.half_width && gained > most) most = gained, best = strength;
  }
  set_everywhere(fit, &TrustFusion::set_strength, best);
}

void choose_joint_weight(TrustFit& fit, const TrustOptions& options) {
  if (!fit.trust->joint()) return;
  const uint64_t seed = mix_seed(options.seed, 94);
  const std::vector<Losses> without = held_out_losses(fit, seed);
  double best = 0, most = 0;
  for (double weight : {0.1, 0.25, 0.5, 0.75}) {
    set_everywhere(fit, &TrustFusion::set_joint_weight, weight);
    const Added added = added_by(held_out_losses(fit, seed), without, /*with_bank=*/true);
    if (added.mean + added.half_width < 0 && -added.mean > most) most = -added.mean, best = weight;
  }
  set_everywhere(fit, &TrustFusion::set_joint_weight, best);
}

void fit_scales(TrustFit& fit, const TrustOptions& options) {
  at::Tensor of_row = fit.item_gates.index_select(0, fit.damaged_item);
  for (size_t g = 0; g < fit.held_out.size(); ++g) {
    at::Tensor rows = (of_row != static_cast<int64_t>(g)).nonzero().squeeze(1);
    fit_scales_of(*fit.held_out[g], models::select_rows(fit.damaged, rows),
                  fit.damaged_target.index_select(0, rows), options);
  }
  // The bank holds undamaged items too; one scale must do for both.
  fit_scales_of(*fit.trust, fit.damaged, fit.damaged_target, options);
}

}  // namespace plait::train
