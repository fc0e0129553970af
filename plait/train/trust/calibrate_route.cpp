#include "plait/train/trust/calibrate_route.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

#include "plait/core/error.h"
#include "plait/core/hash.h"
#include "plait/models/trust/answers.h"
#include "plait/models/trust/evidence.h"
#include "plait/train/trust/risk_control.h"

namespace plait::train {
namespace {

using models::TrustModel;

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

/// Fixed-sequence testing from the strictest threshold down, for every loss by itself; what is
/// expected is of clean items, the first trial.
void certify_stops(models::Route& route, const std::vector<RouteTrial>& trials,
                   const std::vector<double>& costs, const std::vector<double>& losses) {
  auto mean = [](const at::Tensor& x) { return x.to(at::kDouble).mean().item<double>(); };
  for (double loss : losses)
    route.stops.push_back({.loss = loss, .expected_accuracy = route.full_accuracy});
  std::vector<models::Route::Stop*> open;
  for (auto& stop : route.stops) open.push_back(&stop);
  for (int step = 0; step <= 400 && !open.empty(); ++step) {
    const double threshold = 1 - step * step / 160000.0;
    for (const RouteTrial& trial : trials) {
      Stopped stopped = stop_at(trial.cascade, route.order, costs, threshold);
      at::Tensor lost_here = at::logical_and(trial.right, stopped.wrong);
      const auto lost = lost_here.sum().item<int64_t>();
      auto broken = [&](models::Route::Stop* stop) {
        return binomial_tail(lost, lost_here.size(0), stop->loss) > route.delta;
      };
      open.erase(std::remove_if(open.begin(), open.end(), broken), open.end());
    }
    const RouteTrial& clean = trials.front();
    Stopped stopped = stop_at(clean.cascade, route.order, costs, threshold);
    for (models::Route::Stop* stop : open) {
      stop->threshold = threshold;
      stop->expected_cost = mean(stopped.cost);
      stop->expected_accuracy = mean(stopped.wrong.logical_not());
    }
  }
}

}  // namespace

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
  route.delta = options.route_delta;
  route.cost = options.costs;
  route.order = order_streams(
      model, select(whole, one_row_per_item(whole, mix_seed(options.seed, 37))), costs);
  // The promise is for clean items and for damaged ones, not for a mixture of them.
  std::vector<RouteTrial> trials;
  for (ItemKind kind : {ItemKind::kClean, ItemKind::kBank, ItemKind::kCopy}) {
    TrustItems part = select(whole, of_kind(whole, kind).nonzero().squeeze(1));
    if (part.target.size(0) == 0) continue;
    part = select(part,
                  one_row_per_item(part, mix_seed(options.seed, 38, static_cast<uint64_t>(kind))));
    RouteTrial trial{run_cascade(model, part, route.order), {}};
    trial.right = trial.cascade.wrong.back().logical_not();
    trials.push_back(std::move(trial));
  }
  auto mean = [](const at::Tensor& x) { return x.to(at::kDouble).mean().item<double>(); };
  route.full_accuracy = mean(trials.front().right);
  certify_stops(route, trials, costs, options.route_losses);
  model.set_route(std::move(route));
}

}  // namespace plait::train
