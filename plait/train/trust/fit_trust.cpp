#include "plait/train/trust/fit_trust.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "plait/core/error.h"
#include "plait/core/hash.h"
#include "plait/core/parallel.h"
#include "plait/models/trust/answers.h"
#include "plait/models/trust/evidence.h"
#include "plait/models/trust/questions.h"
#include "plait/train/calibrate.h"
#include "plait/train/golden_section.h"
#include "plait/train/optimizer.h"
#include "plait/train/trust/damage_bank.h"
#include "plait/train/trust/trust_experts.h"

namespace plait::train {
namespace {

using models::Evidence;
using models::StreamExpert;
using models::TrustFusion;

constexpr double kLimitQuantile = 0.999;
constexpr double kLeastScale = 0.05, kLargestScale = 5;
constexpr int64_t kGateHalves = 2;
constexpr int64_t kScaleItems = 4000;     ///< To fit the scale of a subset
constexpr int64_t kStrengthItems = 4000;  ///< Of each kind, to choose how far gates are heard
constexpr size_t kBankKind = 1;           ///< Among the kinds of items that strength is chosen on
constexpr double kOneSided = 1.645;       ///< Normal quantile of 95 %
constexpr int64_t kFewItems = 30;         ///< A subset with fewer takes the scale of its size

TrustFusion::Config make_config(const TrustData& data, const std::vector<std::string>& streams,
                                int64_t classes, const TrustOptions& options) {
  TrustFusion::Config config;
  config.streams = streams;
  config.widths = data.widths();
  config.classes = classes;
  config.questions = data.target.dim() == 1 ? 1 : data.target.size(1);
  config.values = options.grid != nullptr;
  config.candidates = static_cast<bool>(options.candidate_scores);
  config.hidden = options.hidden;
  config.dropout = options.dropout;
  config.landmarks = std::min(options.landmarks, data.size());
  config.components = options.components;
  config.floor = options.floor;
  return config;
}

struct Spread {
  std::vector<at::Tensor> mean, deviation;
};

Spread spread_of(const TrustData& data) {
  Spread out;
  for (size_t m = 0; m < data.features.size(); ++m) {
    at::Tensor rows = data.present.select(1, static_cast<int64_t>(m)).nonzero().squeeze(1);
    at::Tensor x = data.features[m][0].to(at::kFloat).index_select(0, rows);
    out.mean.push_back(x.mean(0));
    out.deviation.push_back(x.std(0, /*unbiased=*/false));
  }
  return out;
}

/// Evidence of many items, in the order in which the folds gave it.
struct Pooled {
  std::vector<at::Tensor> logits, distance, consistency, quality, present, target,
      item;  ///< logits not tempered
};

void append(Pooled& out, const TrustFusion& trust, const TrustOptions& options,
            const BankItems& items, const at::Tensor& target, const at::Tensor& item) {
  TrustFusion::Raw raw = trust.look(items.features, items.present);
  if (options.candidate_scores) raw.logits = options.candidate_scores(items.features, item);
  out.logits.push_back(raw.logits);
  out.distance.push_back(raw.distance);
  out.consistency.push_back(raw.consistency);
  out.quality.push_back(items.quality);
  out.present.push_back(items.present);
  out.target.push_back(target);
  out.item.push_back(item);
}

struct Joined {
  at::Tensor logits, distance, consistency, quality, present, target, item;
};
Joined join(const Pooled& p) {
  return {at::cat(p.logits),  at::cat(p.distance), at::cat(p.consistency), at::cat(p.quality),
          at::cat(p.present), at::cat(p.target),   at::cat(p.item)};
}

Evidence evidence_of(const TrustFusion& trust, const Joined& j) {
  return trust.weigh({j.logits, j.distance, j.consistency}, j.quality, j.present);
}

/// Temperatures and what counts as unusual, from clean and damaged items that no expert has seen.
void set_references(TrustFusion& trust, const Joined& clean, const Joined& bank) {
  for (int64_t m = 0; m < clean.present.size(1); ++m) {
    StreamExpert& expert = trust.expert(static_cast<size_t>(m));
    at::Tensor rows = clean.present.select(1, m).nonzero().squeeze(1);
    at::Tensor damaged = bank.present.select(1, m).nonzero().squeeze(1);
    const auto [logits, target] = models::by_question(
        clean.logits.select(1, m).index_select(0, rows), clean.target.index_select(0, rows));
    expert.set_temperature(fit_temperature(logits, target));
    at::Tensor far = bank.distance.select(1, m).index_select(0, damaged).to(at::kDouble);
    expert.density().set_reference(clean.distance.select(1, m).index_select(0, rows),
                                   at::quantile(far, kLimitQuantile).item<double>());
  }
}

/// What the contamination model says of each stream by itself: −log[(1 − ε) p(y) + ε π(y)]. The
/// fused loss alone hardly tells the gates apart when the others outvote a broken stream anyway.
at::Tensor own_loss(const TrustFusion& trust, const Evidence& e, const at::Tensor& breakage,
                    const at::Tensor& target) {
  at::Tensor places = models::places_of(target, trust.config().classes).unsqueeze(1);
  at::Tensor index = places.expand({-1, e.present.size(1), -1});
  at::Tensor p = e.log_probabilities.gather(2, index).exp();
  at::Tensor prior = trust.log_prior().index_select(0, places.flatten()).exp().view_as(places);
  at::Tensor eps = breakage.unsqueeze(2);
  at::Tensor loss = -((1 - eps) * p + eps * prior).log().mean(2);
  at::Tensor here = e.present.to(at::kFloat);
  return (loss * here).sum() / here.sum();
}

void train_gates(TrustFusion& trust, const Evidence& evidence, const at::Tensor& target,
                 const TrustOptions& options) {
  at::AutoGradMode grad(true);
  NamedTensors parameters;
  for (const at::Tensor& p : trust.gate_parameters()) {
    at::Tensor parameter = p;
    parameters.emplace_back("gate." + std::to_string(parameters.size()),
                            parameter.requires_grad_(true));
  }
  AdamW optimizer({{parameters, 1.0, 0.0}}, {});
  auto generator = at::detail::createCPUGenerator(mix_seed(options.seed, 77));
  const int64_t n = target.size(0);
  double lr = options.gate_lr;
  for (int64_t epoch = 0; epoch < options.gate_epochs; ++epoch) {
    for (const at::Tensor& rows : at::randperm(n, generator).split(options.gate_batch)) {
      Evidence part = models::select_rows(evidence, rows);
      at::Tensor y = target.index_select(0, rows);
      models::TrustOutput out = trust.fuse(part);
      const auto [logs, answers] = models::by_question(out.log_probabilities, y);
      at::Tensor loss =
          at::nll_loss(logs, answers) + options.own_loss * own_loss(trust, part, out.breakage, y);
      optimizer.zero_grad();
      loss.backward();
      optimizer.clip_grad_norm(1.0);
      optimizer.step(lr);
    }
    lr *= options.gate_decay;
    if (options.progress)
      options.progress("gates", static_cast<double>(epoch + 1) / options.gate_epochs);
  }
  for (auto& [name, tensor] : parameters) tensor.requires_grad_(false);
}

/// The a that minimises the NLL of softmax(a · support + log prior): convex, by golden section.
/// Of values by their ranked score: a likelihood would flatten all densities for a few that miss.
double fit_scale(const TrustFusion& trust, const at::Tensor& support, const at::Tensor& target) {
  const at::Tensor& log_prior = trust.log_prior();
  auto nll = [&](double log_a) {
    if (trust.grid()) {
      at::Tensor logs = trust.normalise(support * std::exp(log_a) + log_prior);
      return loss_of(trust, logs, target).mean().item<double>();
    }
    const auto [scores, answers] =
        models::by_question(support * std::exp(log_a) + log_prior, target);
    return at::nll_loss(at::log_softmax(scores, -1), answers).item<double>();
  };
  return std::exp(golden_section(nll, std::log(kLeastScale), std::log(kLargestScale), 1e-4));
}

/// Every subset of up to 6 streams for itself; of more streams by the number that is present.
void fit_scales(TrustFusion& trust, const Evidence& items, const at::Tensor& targets,
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
    at::Tensor support = trust.fuse(e).support.sum(1);
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

/// [N]: which fold an item is held out in; a group stays together.
at::Tensor draw_folds(const TrustData& data, int64_t folds, at::Generator& generator) {
  if (!data.group.defined()) return at::randperm(data.size(), generator) % folds;
  at::Tensor number = std::get<1>(at::_unique(data.group, /*sorted=*/true, /*inverse=*/true));
  const int64_t groups = number.max().item<int64_t>() + 1;
  require(groups >= folds, "trust", "expected at least as many groups of items as folds");
  return (at::randperm(groups, generator) % folds).index_select(0, number);
}

void hold_out_gates(TrustFit& fit, const at::Tensor& item_gates, TrustOptions options) {
  options.progress = {};
  fit.item_gates = item_gates;
  at::Tensor of_row = item_gates.index_select(0, fit.damaged_item);
  for (int64_t g = 0; g < kGateHalves; ++g) {
    auto part = std::make_shared<TrustFusion>(fit.trust->config());
    part->load_state_dict(fit.trust->state_dict());
    part->initialize_gates(mix_seed(options.seed, 13));
    at::Tensor rows = (of_row != g).nonzero().squeeze(1);
    Evidence seen = models::select_rows(fit.damaged, rows);
    at::Tensor target = fit.damaged_target.index_select(0, rows);
    train_gates(*part, seen, target, options);
    fit.held_out.push_back(part);
  }
}

/// What gates of one strength make of items new to them: [N] losses (of classes: errors) of clean
/// items, of the bank and, where there are any, of encoded copies.
std::vector<at::Tensor> held_out_losses(const TrustFit& fit, double strength, uint64_t seed) {
  struct Kind {
    const Evidence* evidence;
    const at::Tensor *target, *item;
  };
  std::vector<Kind> kinds = {{&fit.clean, &fit.clean_target, &fit.clean_item},
                             {&fit.damaged, &fit.damaged_target, &fit.damaged_item}};
  if (fit.copies_target.defined())
    kinds.push_back({&fit.copies, &fit.copies_target, &fit.copies_item});
  std::vector<at::Tensor> out;
  for (const Kind& kind : kinds) {
    std::vector<at::Tensor> losses;
    auto generator = at::detail::createCPUGenerator(seed);
    at::Tensor some = at::randperm(kind.target->size(0), generator).slice(0, 0, kStrengthItems);
    at::Tensor gates = fit.item_gates.index_select(0, kind.item->index_select(0, some));
    for (size_t g = 0; g < fit.held_out.size(); ++g) {
      at::Tensor rows = some.masked_select(gates == static_cast<int64_t>(g));
      fit.held_out[g]->set_strength(strength);
      losses.push_back(loss_of(
          *fit.trust,
          fit.held_out[g]->fuse(models::select_rows(*kind.evidence, rows)).log_probabilities,
          kind.target->index_select(0, rows)));
    }
    out.push_back(at::cat(losses));
  }
  return out;
}

/// Gates are heard as far as they take errors away from items new to them, and never so far that
/// they add any to clean items and encoded copies beyond what chance does.
void choose_strength(TrustFit& fit, const TrustOptions& options) {
  const uint64_t seed = mix_seed(options.seed, 93);
  const std::vector<at::Tensor> without = held_out_losses(fit, 0, seed);
  double best = 0, most = 0;
  for (double strength : {0.25, 0.5, 0.75, 1.0}) {
    const std::vector<at::Tensor> with = held_out_losses(fit, strength, seed);
    double gained = 0, added = 0, variance = 0;
    for (size_t k = 0; k < with.size(); ++k) {
      at::Tensor difference = with[k] - without[k];
      gained -= difference.mean().item<double>();
      if (k == kBankKind) continue;
      added += difference.mean().item<double>();
      variance += difference.var(/*unbiased=*/false).item<double>() /
                  static_cast<double>(difference.size(0));
    }
    if (added <= kOneSided * std::sqrt(variance) && gained > most) most = gained, best = strength;
  }
  at::Tensor of_row = fit.item_gates.index_select(0, fit.damaged_item);
  for (size_t g = 0; g < fit.held_out.size(); ++g) {
    fit.held_out[g]->set_strength(best);
    at::Tensor rows = (of_row != static_cast<int64_t>(g)).nonzero().squeeze(1);
    fit_scales(*fit.held_out[g], models::select_rows(fit.damaged, rows),
               fit.damaged_target.index_select(0, rows), options);
    fit.held_out[g]->train(false);
  }
  fit.trust->set_strength(best);
  // The bank holds undamaged items too; one scale must do for both.
  fit_scales(*fit.trust, fit.damaged, fit.damaged_target, options);
  fit.trust->train(false);
}

}  // namespace

TrustFit fit_trust(const TrustData& train, const std::vector<std::string>& streams, int64_t classes,
                   const TrustOptions& options) {
  SerialScope serial;
  at::NoGradGuard no_grad;
  check(train, classes, "train");
  require(train.features.size() == streams.size(), "trust", "expected a name for every stream");
  const TrustFusion::Config config = make_config(train, streams, classes, options);
  const Spread spread = spread_of(train);
  auto report = [&](double share) {
    if (options.progress) options.progress("experts", share);
  };

  std::vector<models::RadialRegression::Shape> shapes;
  auto trust = train_experts(train, config, options, shapes, mix_seed(options.seed, 5));
  const double parts = static_cast<double>(options.folds) + 1;
  report(1 / parts);

  auto generator = at::detail::createCPUGenerator(mix_seed(options.seed, 11));
  at::Tensor fold = draw_folds(train, options.folds, generator);
  std::vector<Fold> folds;
  for (int64_t f = 0; f < options.folds; ++f) {
    at::Tensor rows = (fold == f).nonzero().squeeze(1);
    auto without = train_experts(rows_of(train, (fold != f).nonzero().squeeze(1)), config, options,
                                 shapes, mix_seed(options.seed, 5, f + 1));
    folds.push_back({without, rows_of(train, rows), rows});
    report(static_cast<double>(f + 2) / parts);
  }
  choose_shares(*trust, folds);
  Pooled clean, bank, copies;
  const int64_t passes =
      std::max(options.bank_passes, (options.min_bank + train.size() - 1) / train.size());
  for (int64_t f = 0; f < options.folds; ++f) {
    const auto& [without, held_out, rows] = folds[static_cast<size_t>(f)];
    append(clean, *without, options, clean_bank(held_out), held_out.target, rows);
    for (const BankItems& items : one_copy_each(held_out))
      append(copies, *without, options, items, held_out.target, rows);
    for (int64_t pass = 0; pass < passes; ++pass) {
      append(bank, *without, options,
             draw_bank(held_out, spread.mean, spread.deviation,
                       mix_seed(options.seed, 100 + pass, f), bank_options_for(train)),
             held_out.target, rows);
    }
  }
  Joined clean_items = join(clean), bank_items = join(bank);
  set_references(*trust, clean_items, bank_items);
  at::Tensor count =
      at::bincount(models::places_of(train.target, classes).flatten(), {}, trust->options())
          .to(at::kFloat);
  if (!options.candidate_scores) trust->set_prior(count + 1);
  trust->initialize_gates(mix_seed(options.seed, 13));
  TrustFit out;
  out.trust = trust;
  auto keep = [&](const Joined& items, Evidence& evidence, at::Tensor& target, at::Tensor& item) {
    evidence = evidence_of(*trust, items);
    target = items.target;
    item = items.item;
  };
  keep(clean_items, out.clean, out.clean_target, out.clean_item);
  keep(bank_items, out.damaged, out.damaged_target, out.damaged_item);
  if (!copies.target.empty()) keep(join(copies), out.copies, out.copies_target, out.copies_item);
  train_gates(*trust, out.damaged, out.damaged_target, options);
  hold_out_gates(out, fold % kGateHalves, options);
  choose_strength(out, options);
  return out;
}

}  // namespace plait::train
