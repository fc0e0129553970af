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
#include "plait/train/trust/risk_control.h"

namespace plait::train {
namespace {

using models::Decider;
using models::Evidence;
using models::TrustModel;

constexpr double kRisks[] = {0.01, 0.02, 0.05, 0.1, 0.2, 0.3};
constexpr double kWorst = 1e6;         ///< Loss of a stream that no item has
constexpr double kMostLogT = 3;        ///< Of temperatures and slopes
constexpr int64_t kItemsPerBin = 150;  ///< At least, for prediction sets of their own

constexpr std::pair<ItemKind, const char*> kKinds[] = {
    {ItemKind::kClean, "clean"}, {ItemKind::kBank, "damaged"}, {ItemKind::kCopy, "copies"}};

/// [N] bool
at::Tensor of_kind(const TrustItems& items, ItemKind kind) {
  return items.kind == static_cast<int64_t>(kind);
}

void check(const TrustItems& items) {
  const int64_t n = items.target.size(0);
  require(n > 0, "trust", "expected items to calibrate with");
  require(items.evidence.present.size(0) == n && items.item.size(0) == n &&
              items.kind.size(0) == n && (!items.joint.defined() || items.joint.size(0) == n),
          "trust", "expected evidence, item and kind for every target");
}

/// One row of every item, drawn from the seed.
at::Tensor one_row_per_item(const TrustItems& items, uint64_t seed) {
  auto generator = at::detail::createCPUGenerator(seed);
  at::Tensor order = at::randperm(items.item.size(0), generator);
  at::Tensor shuffled = items.item.index_select(0, order);
  auto [sorted, by_item] = shuffled.sort(/*stable=*/true, 0, /*descending=*/false);
  at::Tensor first = at::ones_like(sorted, at::kBool);
  if (sorted.size(0) > 1)
    first.slice(0, 1).copy_(sorted.slice(0, 1) != sorted.slice(0, 0, sorted.size(0) - 1));
  return order.index_select(0, by_item.masked_select(first));
}

/// What the fusion says of items that its gates were not trained on.
models::TrustOutput fuse(const TrustModel& model, const TrustItems& items) {
  models::TrustOutput out = model.fusion().fuse(items.evidence);
  for (size_t g = 0; g < items.held_out.size(); ++g) {
    at::Tensor rows = (items.gates == static_cast<int64_t>(g)).nonzero().squeeze(1);
    if (rows.size(0) == 0) continue;
    models::TrustOutput own = items.held_out[g]->fuse(models::select_rows(items.evidence, rows));
    for (auto member : {&models::TrustOutput::log_probabilities, &models::TrustOutput::breakage,
                        &models::TrustOutput::support, &models::TrustOutput::weights})
      (out.*member).index_copy_(0, rows, own.*member);
  }
  return out;
}

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

/// Temperature and slope by likelihood, one after the other until they rest.
void fit_temperature_of(TrustModel::Choice& choice, const models::TrustFusion& fusion,
                        const at::Tensor& log_probabilities, const at::Tensor& suspicion,
                        const at::Tensor& target) {
  auto nll = [&](double log_t, double slope) {
    at::Tensor t = (log_t + slope * suspicion).exp().unsqueeze(1);
    const auto [logs, answers] = models::by_question(fusion.temper(log_probabilities, t), target);
    return at::nll_loss(logs, answers).item<double>();
  };
  double log_t = 0, slope = 0;
  for (int round = 0; round < 6; ++round) {
    log_t = golden_section([&](double x) { return nll(x, slope); }, -kMostLogT, kMostLogT, 1e-3);
    slope = golden_section([&](double x) { return nll(log_t, x); }, -kMostLogT, kMostLogT, 1e-3);
  }
  choice.temperature = std::exp(log_t);
  choice.slope = slope;
}

/// The guard's choice in one group; `candidates[0]` is the trust fusion.
TrustModel::Choice choose(const TrustModel& model, const std::vector<Candidate>& candidates,
                          const TrustItems& items, const at::Tensor& suspicion,
                          const TrustCalibrationOptions& options) {
  TrustModel::Choice out;
  bool stays = true;
  double most = -std::numeric_limits<double>::infinity();
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
  at::Tensor rows = answered(out.decider, items).nonzero().squeeze(1);
  fit_temperature_of(out, model.fusion(), candidates[best].log_probabilities.index_select(0, rows),
                     suspicion.index_select(0, rows), items.target.index_select(0, rows));
  return out;
}

void fit_choices(TrustModel& model, const TrustItems& items,
                 const TrustCalibrationOptions& options) {
  at::Tensor groups = TrustModel::group_of(items.evidence.present);
  at::Tensor names = std::get<0>(at::_unique(groups));
  for (int64_t g = 0; g < names.size(0); ++g) {
    at::Tensor rows = (groups == names[g]).nonzero().squeeze(1);
    if (std::get<0>(at::_unique(items.item.index_select(0, rows))).size(0) < options.min_items)
      continue;
    TrustItems own = select(items, rows);
    const models::TrustOutput trust = fuse(model, own);
    at::Tensor suspicion = TrustModel::mean_breakage(trust.breakage, own.evidence.present);
    model.set_choice(names[g].item<int64_t>(),
                     choose(model, candidates_of(model, own, trust), own, suspicion, options));
  }
}

/// Edges of suspicion, and (of classes) prediction sets.
void fit_groups(TrustModel& model, const TrustItems& items) {
  const models::TrustOutput trust = fuse(model, items);
  at::Tensor suspicion = TrustModel::mean_breakage(trust.breakage, items.evidence.present);
  std::vector<double> edges;
  const int64_t n = items.target.size(0);
  // Thirds, where there are enough items in each of them and they differ.
  at::Tensor sorted = std::get<0>(suspicion.sort());
  for (int64_t part = 1; part < 3 && n >= 3 * kItemsPerBin; ++part) {
    const double edge = sorted[part * n / 3].item<double>();
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

/// Which answers are wrong, and confidences, after each of the first streams of an order:
/// [steps][N].
struct Cascade {
  std::vector<at::Tensor> wrong, confidence;
};

/// The items with only some of their streams, and without the joint path.
TrustItems restricted(const TrustItems& items, const at::Tensor& seen) {
  TrustItems out = items;
  out.evidence = models::restrict_to(items.evidence, seen);
  out.joint = at::Tensor();
  return out;
}

Cascade run_cascade(const TrustModel& model, const TrustItems& items,
                    const std::vector<int64_t>& order) {
  Cascade out;
  at::Tensor seen = at::zeros({1, items.evidence.present.size(1)}, at::kBool);
  for (int64_t m : order) {
    seen.select(1, m).fill_(true);
    TrustModel::Verdict verdict = decide(model, restricted(items, seen));
    out.wrong.push_back(wrong_of(model.fusion(), verdict.log_probabilities, items.target));
    out.confidence.push_back(model.confidence(verdict));
  }
  return out;
}

/// Greedily: next the stream that takes away the most errors (or loss) per cost.
std::vector<int64_t> order_streams(const TrustModel& model, const TrustItems& items,
                                   const std::vector<double>& costs) {
  const auto streams = static_cast<int64_t>(costs.size());
  std::vector<int64_t> order;
  const auto& task = model.fusion().config();
  double errors = task.values || task.questions > 1 ? 1 : 1 - 1 / static_cast<double>(task.classes);
  while (static_cast<int64_t>(order.size()) < streams) {
    int64_t best = -1;
    double best_gain = 0, best_errors = errors;
    for (int64_t m = 0; m < streams; ++m) {
      if (std::find(order.begin(), order.end(), m) != order.end()) continue;
      std::vector<int64_t> trial = order;
      trial.push_back(m);
      at::Tensor seen = at::zeros({1, streams}, at::kBool);
      for (int64_t s : trial) seen.select(1, s).fill_(true);
      at::Tensor logs = decide(model, restricted(items, seen)).log_probabilities;
      const double wrong = loss_of(model.fusion(), logs, items.target).mean().item<double>();
      const double gain = (errors - wrong) / costs[static_cast<size_t>(m)];
      if (best < 0 || gain > best_gain) best = m, best_gain = gain, best_errors = wrong;
    }
    order.push_back(best);
    errors = std::min(errors, best_errors);
  }
  return order;
}

/// Which answers of a cascade with a threshold are wrong, and how much of the cost it spends.
struct Stopped {
  at::Tensor wrong, cost;
};
Stopped stop_at(const Cascade& cascade, const std::vector<int64_t>& order,
                const std::vector<double>& costs, double threshold) {
  Stopped out{cascade.wrong.back().clone(), at::zeros({cascade.wrong[0].size(0)}, at::kDouble)};
  at::Tensor open = at::ones({cascade.wrong[0].size(0)}, at::kBool);
  const double total = std::accumulate(costs.begin(), costs.end(), 0.0);
  for (size_t k = 0; k < order.size(); ++k) {
    out.cost += open.to(at::kDouble) * (costs[static_cast<size_t>(order[k])] / total);
    at::Tensor sure = at::logical_and(open, cascade.confidence[k] >= threshold);
    out.wrong = at::where(sure, cascade.wrong[k], out.wrong);
    open = at::logical_and(open, sure.logical_not());
  }
  return out;
}

/// Clean or damaged items: what a route may lose of.
struct RouteTrial {
  Cascade cascade;
  at::Tensor right;
};

void fit_route(TrustModel& model, const TrustItems& items, const TrustCalibrationOptions& options) {
  const int64_t streams = items.evidence.present.size(1);
  std::vector<double> costs = options.costs;
  if (costs.empty()) costs.assign(static_cast<size_t>(streams), 1.0);
  require(static_cast<int64_t>(costs.size()) == streams, "trust",
          "expected a cost for every stream");
  for (double& cost : costs) cost = std::max(cost, 1e-9);
  // Independent items that have every stream; the joint path is not asked on the way.
  TrustItems whole = select(items, items.evidence.present.all(1).nonzero().squeeze(1));
  if (whole.target.size(0) == 0 || streams < 2) return;
  models::Route route;
  route.loss = options.route_loss;
  route.delta = options.route_delta;
  route.cost = options.costs;
  route.order = order_streams(
      model, select(whole, one_row_per_item(whole, mix_seed(options.seed, 37))), costs);
  // The promise is for clean items and for damaged ones, not for a mixture of them.
  std::vector<RouteTrial> trials;
  for (const auto& [kind, name] : kKinds) {
    TrustItems part = select(whole, of_kind(whole, kind).nonzero().squeeze(1));
    if (part.target.size(0) == 0) continue;
    part = select(part,
                  one_row_per_item(part, mix_seed(options.seed, 38, static_cast<uint64_t>(kind))));
    RouteTrial trial{run_cascade(model, part, route.order), {}};
    trial.right = trial.cascade.wrong.back().logical_not();
    trials.push_back(std::move(trial));
  }
  // Fixed-sequence testing from the strictest threshold down; what is expected is of clean items.
  auto mean = [](const at::Tensor& x) { return x.to(at::kDouble).mean().item<double>(); };
  route.full_accuracy = route.expected_accuracy = mean(trials.front().right);
  for (int step = 0; step <= 400; ++step) {
    const double threshold = 1 - step * step / 160000.0;
    bool holds = true;
    for (const RouteTrial& trial : trials) {
      Stopped stopped = stop_at(trial.cascade, route.order, costs, threshold);
      const auto lost = at::logical_and(trial.right, stopped.wrong).sum();
      holds = holds && binomial_tail(lost.item<int64_t>(), trial.right.size(0),
                                     options.route_loss) <= options.route_delta;
    }
    if (!holds) break;
    const RouteTrial& clean = trials.front();
    Stopped stopped = stop_at(clean.cascade, route.order, costs, threshold);
    route.threshold = threshold;
    route.expected_cost = mean(stopped.cost);
    route.expected_accuracy = mean(stopped.wrong.logical_not());
  }
  model.set_route(std::move(route));
}
}  // namespace

TrustItems select(const TrustItems& items, const at::Tensor& rows) {
  TrustItems out;
  out.evidence = models::select_rows(items.evidence, rows);
  out.target = items.target.index_select(0, rows);
  out.item = items.item.index_select(0, rows);
  out.kind = items.kind.index_select(0, rows);
  if (items.joint.defined()) out.joint = items.joint.index_select(0, rows);
  out.held_out = items.held_out;
  if (items.gates.defined()) out.gates = items.gates.index_select(0, rows);
  return out;
}

TrustModel::Verdict decide(const TrustModel& model, const TrustItems& items) {
  return model.decide(items.evidence, items.joint, fuse(model, items));
}

at::Tensor answerable(const TrustModel& model, const TrustItems& items) {
  at::Tensor keep = at::ones_like(items.kind, at::kBool);
  at::Tensor groups = TrustModel::group_of(items.evidence.present);
  for (const auto& [group, own] : model.choices()) {
    at::Tensor known = at::logical_or(groups != group, answered(own.decider, items));
    keep = at::logical_and(keep, known);
  }
  return keep.nonzero().squeeze(1);
}

TrustItems out_of_fold_items(const TrustFit& fit, uint64_t seed) {
  TrustItems out;
  auto add = [&](ItemKind kind, const Evidence& evidence, const at::Tensor& target,
                 const at::Tensor& item) {
    TrustItems items{evidence, target, item, at::full_like(item, static_cast<int64_t>(kind)), {}};
    items.held_out = fit.held_out;
    items.gates = fit.item_gates.index_select(0, item);
    if (kind == ItemKind::kClean) {
      out = std::move(items);
    } else {
      const auto draw = mix_seed(seed, static_cast<uint64_t>(kind));
      out = stack(out, select(items, one_row_per_item(items, draw)));
    }
  };
  add(ItemKind::kClean, fit.clean, fit.clean_target, fit.clean_item);
  add(ItemKind::kBank, fit.damaged, fit.damaged_target, fit.damaged_item);
  if (fit.copies_target.defined())
    add(ItemKind::kCopy, fit.copies, fit.copies_target, fit.copies_item);
  return out;
}

TrustItems every_subset(const TrustItems& items, uint64_t seed) {
  check(items);
  require(!items.joint.defined(), "trust", "expected items without the joint path's logits");
  const int64_t streams = items.evidence.present.size(1);
  std::vector<TrustItems> parts;
  auto add = [&](const at::Tensor& rows, const at::Tensor& present) {
    TrustItems part = select(items, rows);
    part.evidence.present = present;
    parts.push_back(std::move(part));
  };
  const at::Tensor& present = items.evidence.present;
  if (streams <= TrustModel::kMaxExactStreams) {
    for (int64_t subset = 1; subset < (int64_t{1} << streams); ++subset) {
      at::Tensor mask = at::zeros({1, streams}, at::kBool);
      for (int64_t m = 0; m < streams; ++m) mask[0][m] = (subset >> m & 1) != 0;
      at::Tensor rows = at::logical_or(present, mask.logical_not()).all(1).nonzero().squeeze(1);
      if (rows.size(0) > 0) add(rows, mask.expand({rows.size(0), streams}));
    }
  } else {
    for (int64_t size = 1; size <= streams; ++size) {
      auto generator = at::detail::createCPUGenerator(mix_seed(seed, static_cast<uint64_t>(size)));
      // The streams that an item has, in an order of its own.
      at::Tensor draw = at::rand(present.sizes(), generator) + present.logical_not();
      at::Tensor place = at::argsort(at::argsort(draw, 1, false), 1, false);
      at::Tensor rows = (present.sum(1) >= size).nonzero().squeeze(1);
      if (rows.size(0) > 0) add(rows, (place < size).index_select(0, rows));
    }
  }
  TrustItems out = parts.front();
  for (size_t i = 1; i < parts.size(); ++i) out = stack(out, parts[i]);
  return out;
}

TrustItems stack(const TrustItems& a, const TrustItems& b) {
  TrustItems out{models::stack({a.evidence, b.evidence}),
                 at::cat({a.target, b.target}),
                 at::cat({a.item, b.item}),
                 at::cat({a.kind, b.kind}),
                 {}};
  if (a.gates.defined() || b.gates.defined()) {
    require(a.held_out.empty() || b.held_out.empty() || a.held_out == b.held_out, "trust",
            "expected items with the same held-out gates");
    out.held_out = a.held_out.empty() ? b.held_out : a.held_out;
    auto gates = [](const TrustItems& items) {
      return items.gates.defined() ? items.gates : at::full_like(items.item, -1);
    };
    out.gates = at::cat({gates(a), gates(b)});
  }
  if (a.joint.defined() || b.joint.defined()) {
    auto known = [](const TrustItems& items, const TrustItems& other) {
      if (items.joint.defined()) return items.joint;
      return at::full({items.target.size(0), other.joint.size(1)},
                      std::numeric_limits<float>::quiet_NaN());
    };
    out.joint = at::cat({known(a, b), known(b, a)});
  }
  return out;
}

void calibrate_trust(TrustModel& model, const TrustItems& items,
                     const TrustCalibrationOptions& options) {
  check(items);
  SerialScope serial;
  at::NoGradGuard no_grad;
  model.set_ranking(rank_streams(model, items));
  fit_choices(model, items, options);
  const TrustItems known = select(items, answerable(model, items));
  fit_groups(model, known);
  // How sure an answer is and what may be skipped follows from how many candidates there are.
  if (model.fusion().config().candidates) return;
  fit_abstention(model, known, options);
  fit_route(model, known, options);
}

}  // namespace plait::train
