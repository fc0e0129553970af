#include "plait/train/trust/calibrate_trust.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "plait/core/error.h"
#include "plait/core/hash.h"
#include "plait/core/parallel.h"
#include "plait/models/trust/answers.h"
#include "plait/models/trust/evidence.h"
#include "plait/models/trust/questions.h"
#include "plait/train/golden_section.h"
#include "plait/train/trust/calibrate_route.h"
#include "plait/train/trust/risk_control.h"

namespace plait::train {
namespace {

using models::Decider;
using models::Evidence;
using models::TrustModel;

constexpr double kRisks[] = {0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5};
constexpr double kWorst = 1e6;         ///< Loss of a stream that no item has
constexpr double kMostLogT = 3;        ///< Of temperatures and slopes
constexpr int64_t kItemsPerSwap = 10;  ///< Items of which one is met swapped, for temperatures
constexpr int64_t kItemsPerBin = 150;  ///< At least, for prediction sets of their own
/// Shares of the items up to which suspicion is one range.
constexpr std::pair<int64_t, int64_t> kParts[] = {{1, 3}, {2, 3}, {5, 6}, {11, 12}};

constexpr std::pair<ItemKind, const char*> kKinds[] = {
    {ItemKind::kClean, "clean"}, {ItemKind::kBank, "damaged"}, {ItemKind::kCopy, "copies"}};

/// Streams by their loss alone (of classes: accuracy) on clean items, then by likelihood, best
/// first.
std::vector<int64_t> rank_streams(const TrustModel& model, const TrustItems& items) {
  const int64_t streams = items.evidence.present.size(1);
  std::vector<std::pair<double, double>> score;
  for (int64_t m = 0; m < streams; ++m) {
    at::Tensor rows =
        at::logical_and(items.evidence.present.select(1, m), of_kind(items, ItemKind::kClean))
            .nonzero()
            .squeeze(1);
    at::Tensor logs = items.evidence.log_probabilities.select(1, m).index_select(0, rows);
    at::Tensor target = items.target.index_select(0, rows);
    const bool any = rows.size(0) > 0;
    const auto [scores, answers] = models::by_question(logs, target);
    score.emplace_back(any ? -loss_of(model.fusion(), logs, target).mean().item<double>() : -kWorst,
                       any ? -at::nll_loss(scores, answers).item<double>() : 0);
  }
  std::vector<int64_t> out(static_cast<size_t>(streams));
  std::iota(out.begin(), out.end(), 0);
  std::stable_sort(out.begin(), out.end(), [&](int64_t a, int64_t b) {
    return score[static_cast<size_t>(a)] > score[static_cast<size_t>(b)];
  });
  return out;
}

struct Candidate {
  Decider decider;
  at::Tensor log_probabilities, loss;  ///< [N, K], [N]
};

/// `trust`: what the fusion says of the items.
std::vector<Candidate> candidates_of(const TrustModel& model, const TrustItems& items,
                                     const models::TrustOutput& trust) {
  std::vector<Decider> deciders = {Decider::kTrust, Decider::kRobustProduct, Decider::kProduct,
                                   Decider::kMean, Decider::kBestSingle};
  if (items.joint.defined()) deciders.push_back(Decider::kJoint);
  std::vector<Candidate> out;
  for (Decider decider : deciders) {
    at::Tensor logs = decider == Decider::kTrust
                          ? trust.log_probabilities
                          : model.decide_as(decider, items.evidence, items.joint);
    out.push_back({decider, logs, loss_of(model.fusion(), logs, items.target)});
  }
  return out;
}

/// [N] bool: rows whose answer by `decider` is known.
at::Tensor answered(Decider decider, const TrustItems& items) {
  if (decider != Decider::kJoint) return at::ones_like(items.kind, at::kBool);
  if (!items.joint.defined()) return at::zeros_like(items.kind, at::kBool);
  return items.joint.isfinite().all(1);
}

/// What an item's temperature follows: [N] mean breakage and conflict.
struct Doubt {
  at::Tensor broken, torn;
};

Doubt doubt_of(const TrustModel& model, const TrustItems& items, const models::TrustOutput& trust) {
  return {TrustModel::mean_breakage(trust.breakage, items.evidence.present),
          TrustModel::conflict(model.fusion(), items.evidence, trust)};
}

/// Temperature and slopes by likelihood, one after the other until they rest.
void fit_temperature_of(TrustModel::Choice& choice, const models::TrustFusion& fusion,
                        const at::Tensor& log_probabilities, const Doubt& doubt,
                        const at::Tensor& target) {
  double log_t = 0, slope = 0, torn_slope = 0;
  auto nll = [&] {
    at::Tensor t = (log_t + slope * doubt.broken + torn_slope * doubt.torn).exp().unsqueeze(1);
    const auto [logs, answers] = models::by_question(fusion.temper(log_probabilities, t), target);
    return at::nll_loss(logs, answers).item<double>();
  };
  for (int round = 0; round < 6; ++round) {
    for (double* number : {&log_t, &slope, &torn_slope}) {
      // That streams contradict each other makes no answer surer.
      const double least = number == &torn_slope ? 0 : -kMostLogT;
      *number =
          golden_section([&](double x) { return *number = x, nll(); }, least, kMostLogT, 1e-3);
    }
  }
  choice.temperature = std::exp(log_t);
  choice.slope = slope;
  choice.conflict_slope = torn_slope;
}

/// Losses are 0 or 1.
bool counts_errors(const TrustModel& model) {
  return !model.fusion().grid() && model.fusion().config().questions == 1;
}

/// The guard's choice in one group; `candidates[0]` is the trust fusion.
TrustModel::Choice choose(const TrustModel& model, const std::vector<Candidate>& candidates,
                          const TrustItems& items, const Doubt& doubt,
                          const TrustCalibrationOptions& options) {
  TrustModel::Choice out;
  bool stays = true;
  // A ranked score tells far finer differences than answers that are right or wrong: who falls
  // behind one of the others by a hair hands over to nobody who loses more in all.
  double most = counts_errors(model) ? -std::numeric_limits<double>::infinity() : 0;
  size_t best = 0;
  for (size_t c = 1; c < candidates.size(); ++c) {
    Json comparison = Json::object({{"with", to_string(candidates[c].decider)}});
    at::Tensor known = answered(candidates[c].decider, items);
    double gain = 0;
    bool compared = false;
    for (const auto& [kind, name] : kKinds) {
      at::Tensor rows = at::logical_and(known, of_kind(items, kind)).nonzero().squeeze(1);
      if (rows.size(0) == 0) continue;
      auto pick = [&](const at::Tensor& x) { return x.index_select(0, rows); };
      const PairedBound bound = paired_bound(pick(candidates[0].loss - candidates[c].loss),
                                             pick(items.item), options.level);
      // With enough items the whole bound lies within the margin; with few, what was seen does.
      const bool few = bound.half_width > options.margin / 2;
      const bool holds = (few ? bound.mean : bound.upper()) <= options.margin + 1e-9;
      comparison[name] = Json::object({{"difference", bound.mean},
                                       {"upper", bound.upper()},
                                       {"items", bound.items},
                                       {"holds", holds}});
      stays = stays && holds;
      gain += bound.mean;
      compared = true;
    }
    if (compared && gain > most) most = gain, best = c;
    out.comparisons.push_back(comparison);
  }
  if (stays) best = 0;
  out.decider = candidates[best].decider;
  // A temperature would draw values to their mean; their intervals are calibrated apart.
  if (model.fusion().grid()) return out;
  // With more swapped items than are met, all answers would look unsure.
  at::Tensor met = at::logical_or(of_kind(items, ItemKind::kSwap).logical_not(),
                                  items.item.remainder(kItemsPerSwap) == 0);
  at::Tensor rows = at::logical_and(answered(out.decider, items), met).nonzero().squeeze(1);
  fit_temperature_of(out, model.fusion(), candidates[best].log_probabilities.index_select(0, rows),
                     {doubt.broken.index_select(0, rows), doubt.torn.index_select(0, rows)},
                     items.target.index_select(0, rows));
  return out;
}

/// The guard's choices; gives what the fusion says of the items.
models::TrustOutput fit_choices(TrustModel& model, const TrustItems& items,
                                const TrustCalibrationOptions& options) {
  models::TrustOutput all;
  at::Tensor groups = TrustModel::group_of(items.evidence.present);
  at::Tensor names = std::get<0>(at::_unique(groups));
  for (int64_t g = 0; g < names.size(0); ++g) {
    at::Tensor rows = (groups == names[g]).nonzero().squeeze(1);
    TrustItems own = select(items, rows);
    const models::TrustOutput trust = fuse(model, own);
    put_rows(all, rows, trust, items.target.size(0));
    if (std::get<0>(at::_unique(own.item)).size(0) < options.min_items) continue;
    model.set_choice(names[g].item<int64_t>(), choose(model, candidates_of(model, own, trust), own,
                                                      doubt_of(model, own, trust), options));
  }
  return all;
}

/// Edges of suspicion, and (of classes) prediction sets. `trust`: what the fusion says of the
/// items.
void fit_groups(TrustModel& model, const TrustItems& items, const models::TrustOutput& trust) {
  const Doubt doubt = doubt_of(model, items, trust);
  at::Tensor suspicion = doubt.broken + doubt.torn;
  std::vector<double> edges;
  const int64_t n = items.target.size(0);
  // Where there are enough items in each part and they differ; finer where doubt is greatest.
  at::Tensor sorted = std::get<0>(suspicion.sort());
  for (const auto& [part, of] : kParts) {
    if (n < of * kItemsPerBin) continue;
    const double edge = sorted[part * n / of].item<double>();
    if (edges.empty() || edge > edges.back()) edges.push_back(edge);
  }
  model.set_suspicion_bins(edges);
  if (model.fusion().options() > model.fusion().config().classes || model.fusion().grid() ||
      model.fusion().config().candidates)
    return;
  TrustModel::Verdict verdict = model.decide(items.evidence, items.joint, trust);
  model.set_sets(
      models::ConformalSets::fit(verdict.log_probabilities, items.target, verdict.group));
}

void fit_abstention(TrustModel& model, const TrustItems& items,
                    const TrustCalibrationOptions& options) {
  // Rows of one item are not independent.
  TrustItems single = select(items, one_row_per_item(items, mix_seed(options.seed, 31)));
  TrustModel::Verdict verdict = decide(model, single);
  at::Tensor confidence = model.confidence(verdict);
  at::Tensor wrong = wrong_of(model.fusion(), verdict.log_probabilities, single.target);
  std::map<double, double> thresholds;
  for (double risk : kRisks) {
    thresholds[risk] = certify_abstention(confidence, wrong, risk, options.abstention_delta);
  }
  model.set_abstention(std::move(thresholds));
}

}  // namespace

at::Tensor answerable(const TrustModel& model, const TrustItems& items) {
  at::Tensor keep = at::ones_like(items.kind, at::kBool);
  at::Tensor groups = TrustModel::group_of(items.evidence.present);
  for (const auto& [group, own] : model.choices()) {
    at::Tensor known = at::logical_or(groups != group, answered(own.decider, items));
    keep = at::logical_and(keep, known);
  }
  return keep.nonzero().squeeze(1);
}

void calibrate_trust(TrustModel& model, const TrustItems& items,
                     const TrustCalibrationOptions& options) {
  check(items);
  SerialScope serial;
  at::NoGradGuard no_grad;
  model.set_ranking(rank_streams(model, items));
  const models::TrustOutput trust = fit_choices(model, items, options);
  const at::Tensor rows = answerable(model, items);
  const TrustItems known = select(items, rows);
  fit_groups(model, known, select(trust, rows));
  // How sure an answer is and what may be skipped follows from how many candidates there are.
  if (model.fusion().config().candidates) return;
  const TrustItems natural =
      select(known, of_kind(known, ItemKind::kSwap).logical_not().nonzero().squeeze(1));
  fit_abstention(model, natural, options);
  fit_route(model, natural, options);
}

}  // namespace plait::train
