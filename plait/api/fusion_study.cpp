#include "plait/api/fusion_study.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <chrono>

#include "plait/core/error.h"
#include "plait/core/hash.h"
#include "plait/core/parallel.h"
#include "plait/models/trust/evidence.h"
#include "plait/train/calibrate.h"
#include "plait/train/metrics.h"
#include "plait/train/trust/baselines.h"
#include "plait/train/trust/trust_experts.h"

namespace plait::api {
namespace {

using models::Decider;
using models::Evidence;
using models::TrustModel;

constexpr double kCoverages[] = {0.8, 0.9, 0.95};
constexpr double kRouteLoss = 0.005;

/// The static fusions, tempered on clean training items out of fold.
class Statics {
 public:
  Statics(const TrustModel& model, const train::TrustItems& items) : model_(model) {
    at::Tensor clean =
        (items.kind == static_cast<int64_t>(train::ItemKind::kClean)).nonzero().squeeze(1);
    train::TrustItems fit = train::select(items, clean);
    double least = 2;
    for (const std::string& name : static_names()) {
      if (name == "best_static") continue;
      at::Tensor logs = raw(name, items.evidence);
      temperatures_[name] = name == "product" || name == "mean"
                                ? 1.0
                                : train::fit_temperature(raw(name, fit.evidence), fit.target);
      // Clean and damaged items count alike.
      const double errors = (logs.argmax(1) != items.target).to(at::kDouble).mean().item<double>();
      if (name != "best_single" && errors < least) least = errors, best_ = name;
    }
  }

  at::Tensor answer(const std::string& name, const Evidence& e) const {
    const std::string& own = name == "best_static" ? best_ : name;
    return at::log_softmax(raw(own, e) / temperatures_.at(own), -1);
  }
  const std::string& best() const { return best_; }

 private:
  at::Tensor raw(const std::string& name, const Evidence& e) const {
    Decider decider = name == "best_single"      ? Decider::kBestSingle
                      : name == "mean"           ? Decider::kMean
                      : name == "robust_product" ? Decider::kRobustProduct
                                                 : Decider::kProduct;
    return model_.statics().decide(decider, e);
  }

  const TrustModel& model_;
  std::map<std::string, double> temperatures_;
  std::string best_;
};

Json figures(const at::Tensor& log_probabilities, const at::Tensor& target) {
  at::Tensor p = log_probabilities.to(at::kDouble).exp();
  p = p / p.sum(-1, /*keepdim=*/true);
  return Json::object({{"accuracy", train::accuracy(p, target)},
                       {"nll", train::negative_log_likelihood(p, target)},
                       {"brier", train::brier_score(p, target)},
                       {"ece", train::expected_calibration_error(p, target)},
                       {"aurc", train::aurc(p, target)}});
}

Json never_worse(const at::Tensor& trust, const at::Tensor& other, const at::Tensor& target) {
  at::Tensor right = trust.argmax(1) == target, theirs = other.argmax(1) == target;
  auto count = [](const at::Tensor& x) { return x.sum().item<int64_t>(); };
  return Json::object({{"items", target.size(0)},
                       {"lost", count(at::logical_and(theirs, right.logical_not()))},
                       {"won", count(at::logical_and(right, theirs.logical_not()))}});
}

Json set_figures(const TrustModel& model, const TrustModel::Verdict& verdict,
                 const at::Tensor& target) {
  Json out = Json::object({});
  for (double coverage : kCoverages) {
    at::Tensor in = model.prediction_sets(verdict, coverage);
    char name[16];
    std::snprintf(name, sizeof name, "%g", coverage);
    out[name] = Json::object(
        {{"coverage", in.gather(1, target.unsqueeze(1)).to(at::kDouble).mean().item<double>()},
         {"size", in.sum(1).to(at::kDouble).mean().item<double>()}});
  }
  return out;
}

/// Accuracy when every item gets another item's breakages: what the gates know is then lost.
double permuted_accuracy(const TrustModel& model, const Evidence& e, const at::Tensor& breakage,
                         const at::Tensor& target, uint64_t seed) {
  auto generator = at::detail::createCPUGenerator(seed);
  at::Tensor other = at::randperm(target.size(0), generator);
  at::Tensor exchanged = at::where(e.present, breakage.index_select(0, other), breakage);
  return train::accuracy(model.fusion().fuse_with(e, exchanged).log_probabilities, target);
}

/// What is said after each stream of the route: [steps] of [N].
struct RouteSteps {
  std::vector<at::Tensor> any, confidence, answer;
};

RouteSteps walk_route(const TrustModel& model, const Evidence& e) {
  RouteSteps out;
  at::Tensor seen = at::zeros({1, e.present.size(1)}, at::kBool);
  for (int64_t m : model.route().order) {
    seen.select(1, m).fill_(true);
    const Evidence part = models::restrict_to(e, seen);
    auto [confidence, best] = model.decide(part).log_probabilities.max(1);
    out.any.push_back(part.present.any(1));
    out.confidence.push_back(confidence.exp());
    out.answer.push_back(best);
  }
  return out;
}

/// Streams one after the other, each item until it is sure.
Json route_figures(const models::Route& route, const RouteSteps& steps, const at::Tensor& present,
                   const at::Tensor& full, const at::Tensor& target,
                   const std::vector<double>& costs, double loss = kRouteLoss) {
  const double threshold = route.stop(loss).threshold;
  at::Tensor done = at::zeros_like(target, at::kBool), answer = at::zeros_like(target);
  at::Tensor cost = at::zeros({target.size(0)}, at::kDouble), all = at::zeros_like(cost);
  for (size_t k = 0; k < route.order.size(); ++k) {
    const int64_t m = route.order[k];
    const double own = costs.empty() ? 1.0 : costs[static_cast<size_t>(m)];
    at::Tensor here = present.select(1, m), open = done.logical_not();
    all += here.to(at::kDouble) * own;
    cost += at::logical_and(here, open).to(at::kDouble) * own;
    answer = at::where(at::logical_and(open, steps.any[k]), steps.answer[k], answer);
    done = at::logical_or(done, at::logical_and(steps.any[k], steps.confidence[k] >= threshold));
  }
  at::Tensor right = answer == target, whole = full == target;
  auto mean = [](const at::Tensor& x) { return x.to(at::kDouble).mean().item<double>(); };
  return Json::object({{"cost", mean(cost / all.clamp_min(1e-9))},
                       {"accuracy", mean(right)},
                       {"full", mean(whole)},
                       {"lost", mean(at::logical_and(whole, right.logical_not()))}});
}

/// DynMM's gates on the clean items, from free to dear compute.
Json dynmm_curve(const StudyData& data, const StudyOptions& options, int64_t first) {
  const auto streams = static_cast<int64_t>(data.streams.size());
  train::DynMmOptions how;
  static_cast<train::BaselineOptions&>(how) = train::baseline_options("dynmm");
  how.hidden = options.trust.hidden;
  how.epochs = options.trust.expert_epochs;
  how.seed = options.trust.seed;
  how.view_cost = data.costs;
  for (int64_t m = 0; m < streams && streams > 2; ++m) {
    if (m != first) how.view_sets.push_back({std::min(first, m), std::max(first, m)});
  }
  std::vector<train::DynMmGate> gates;
  for (double weight : options.dynmm_weights) gates.push_back({weight, {first}});
  // Shows what looking costs, for which half of the points will do.
  for (size_t i = 0; i < options.dynmm_weights.size(); i += 2)
    gates.push_back({options.dynmm_weights[i], {}});
  const auto models = train::fit_dynmm_gates(data.train, data.train, data.classes, how, gates);

  at::NoGradGuard no_grad;
  const train::TrustData& test = data.conditions.front().test;
  const std::vector<at::Tensor> features = test.clean();
  const at::Tensor costs =
      data.costs.empty() ? at::ones({streams}, at::kDouble) : at::tensor(data.costs, at::kDouble);
  auto spent = [&](const at::Tensor& views) { return (views.to(at::kDouble) * costs).sum(1); };
  const at::Tensor all = spent(test.present).clamp_min(1e-9);
  auto share = [&](const at::Tensor& views) { return (spent(views) / all).mean().item<double>(); };
  Json out = Json::array();
  for (size_t i = 0; i < models.size(); ++i) {
    out.push_back(Json::object(
        {{"gate", gates[i].views.empty() ? "all" : "first"},
         {"weight", gates[i].cost_weight},
         {"cost", share(models[i]->needed(features, test.present))},
         {"branch_cost", share(models[i]->used(features, test.present))},
         {"accuracy", train::accuracy(models[i]->log_probabilities(features, test.present).exp(),
                                      test.target)}}));
  }
  return out;
}

at::Tensor quality_of(const train::TrustData& data) {
  if (data.quality.empty()) return data.present.to(at::kFloat);
  std::vector<at::Tensor> out;
  for (const auto& variants : data.quality) out.push_back(variants[0].to(at::kFloat));
  return at::stack(out, 1);
}

}  // namespace

const std::vector<std::string>& static_names() {
  static const std::vector<std::string> kNames{"best_single", "best_static",      "mean",
                                               "product",     "tempered_product", "robust_product"};
  return kNames;
}

Json run_fusion_study(const StudyData& data, const StudyOptions& options,
                      const StudyProgress& progress) {
  auto report = [&](const std::string& stage, double share) {
    if (progress) progress(stage, share);
  };
  const auto start = std::chrono::steady_clock::now();
  report("trust", 0);
  train::TrustFit fit = train::fit_trust(data.train, data.streams, data.classes, options.trust);
  TrustModel model(fit.trust);
  train::TrustCalibrationOptions calibration = options.calibration;
  calibration.costs = data.costs;
  const train::TrustItems out_of_fold = train::out_of_fold_items(fit, options.trust.seed);
  train::calibrate_trust(model, train::every_subset(out_of_fold, options.trust.seed), calibration);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  std::map<std::string, std::shared_ptr<train::ViewClassifier>> baselines;
  for (size_t b = 0; b < options.baselines.size(); ++b) {
    const std::string& name = options.baselines[b];
    report(name, static_cast<double>(b + 1) / static_cast<double>(options.baselines.size() + 2));
    train::BaselineOptions how = train::baseline_options(name);
    how.hidden = options.trust.hidden;
    how.epochs = options.trust.expert_epochs;
    how.seed = options.trust.seed;
    baselines[name] = train::fit_baseline(name, data.train, data.train, data.classes, how);
  }

  Json curve;
  if (!options.dynmm_weights.empty()) {
    const auto& order = model.route().order;
    curve = dynmm_curve(data, options, order.empty() ? 0 : order.front());
  }

  at::NoGradGuard no_grad;
  SerialScope serial;
  const Statics statics(model, out_of_fold);
  Json out = Json::object(
      {{"seconds", seconds}, {"best_static", statics.best()}, {"strength", fit.trust->strength()}});
  if (!curve.is_null()) out["dynmm_curve"] = std::move(curve);
  for (const auto& [group, choice] : model.choices())
    out["guard"][model.group_name(group)] = models::to_string(choice.decider);
  for (size_t c = 0; c < data.conditions.size(); ++c) {
    const StudyCondition& condition = data.conditions[c];
    const at::Tensor& target = condition.test.target;
    const std::vector<at::Tensor> features = condition.test.clean();
    const at::Tensor quality = quality_of(condition.test), present = condition.test.present;
    Evidence e = fit.trust->gather(features, quality, present);
    TrustModel::Verdict verdict = model.decide(e);
    std::map<std::string, at::Tensor> answers{{"trust", verdict.log_probabilities},
                                              {"trust_bare", fit.trust->fuse(e).log_probabilities}};
    at::Tensor known =
        at::where(condition.hit, at::ones({}), at::full({}, fit.trust->config().floor));
    answers["oracle"] = fit.trust->fuse_with(e, known).log_probabilities;
    for (const std::string& name : static_names()) answers[name] = statics.answer(name, e);
    for (const auto& [name, baseline] : baselines)
      answers[name] = baseline->log_probabilities(features, present, quality);
    for (const auto& [name, answer] : answers)
      out["methods"][name][condition.name] = figures(answer, target);
    out["seen"][condition.name] = condition.seen;
    for (const char* other : {"best_single", "best_static"}) {
      out["never_worse"][condition.name][other] =
          never_worse(answers.at("trust"), answers.at(other), target);
    }
    at::Tensor p = answers.at("trust").to(at::kDouble).exp();
    out["calibration"][condition.name] =
        Json::object({{"ece", train::expected_calibration_error(p, target)},
                      {"ece_of_calibrated", train::calibration_error_by_chance(
                                                p, mix_seed(options.trust.seed, 61, c))}});
    out["sets"][condition.name] = set_figures(model, verdict, target);
    out["permuted"][condition.name] =
        permuted_accuracy(model, e, verdict.breakage, target, mix_seed(options.trust.seed, 62, c));
    if (model.route().order.empty()) continue;
    const at::Tensor full = answers.at("trust").argmax(1);
    const RouteSteps steps = walk_route(model, e);
    out["route"][condition.name] =
        route_figures(model.route(), steps, present, full, target, data.costs);
    if (c > 0) continue;
    for (const models::Route::Stop& stop : model.route().stops) {
      Json figures =
          route_figures(model.route(), steps, present, full, target, data.costs, stop.loss);
      figures["loss"] = stop.loss;
      out["route_curve"].push_back(std::move(figures));
    }
  }
  report("done", 1);
  return out;
}

StudyData with_fewer_items(const StudyData& data, int64_t count, uint64_t seed) {
  require(count >= data.classes, "study", "expected at least one item a class");
  if (count >= data.train.size()) return data;
  // Class by class in turn, each in an order of its own.
  auto generator = at::detail::createCPUGenerator(seed);
  at::Tensor order = at::randperm(data.train.size(), generator);
  std::vector<int64_t> seen(static_cast<size_t>(data.classes)), place;
  std::vector<std::pair<int64_t, int64_t>> ranked;  // Place within the class, item
  for (int64_t i = 0; i < order.size(0); ++i) {
    const auto item = order[i].item<int64_t>();
    const auto k = static_cast<size_t>(data.train.target[item].item<int64_t>());
    ranked.emplace_back(seen[k]++, item);
  }
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < count; ++i) rows.push_back(ranked[static_cast<size_t>(i)].second);
  StudyData out = data;
  out.train = train::rows_of(data.train, at::tensor(rows, at::kLong));
  return out;
}

}  // namespace plait::api
