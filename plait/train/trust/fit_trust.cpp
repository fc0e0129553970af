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
#include "plait/models/trust/evidence.h"
#include "plait/models/trust/questions.h"
#include "plait/train/calibrate.h"
#include "plait/train/optimizer.h"
#include "plait/train/trust/damage_bank.h"
#include "plait/train/trust/trust_choices.h"
#include "plait/train/trust/trust_joint.h"

namespace plait::train {
namespace {

using models::Evidence;
using models::StreamExpert;
using models::TrustFusion;

constexpr double kLimitQuantile = 0.999;
constexpr int64_t kGateHalves = 2;

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
  config.joint = options.candidate_scores ? 0 : options.joint;
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
  std::vector<at::Tensor> logits, distance, consistency, quality, present, target, item, tokens,
      reader;  ///< logits not tempered
};

void append(Pooled& out, const TrustFusion& trust, const TrustOptions& options,
            const BankItems& items, const at::Tensor& target, const at::Tensor& item,
            int64_t fold) {
  TrustFusion::Raw raw = trust.look(items.features, items.present);
  if (options.candidate_scores) raw.logits = options.candidate_scores(items.features, item);
  out.logits.push_back(raw.logits);
  out.distance.push_back(raw.distance);
  out.consistency.push_back(raw.consistency);
  out.quality.push_back(items.quality);
  out.present.push_back(items.present);
  out.target.push_back(target);
  out.item.push_back(item);
  if (!trust.joint()) return;
  out.tokens.push_back(raw.tokens);
  out.reader.push_back(at::full_like(item, fold));
}

struct Joined {
  at::Tensor logits, distance, consistency, quality, present, target, item, tokens, reader;
};
Joined join(const Pooled& p) {
  auto optional = [](const std::vector<at::Tensor>& parts) {
    return parts.empty() ? at::Tensor() : at::cat(parts);
  };
  return {at::cat(p.logits),  at::cat(p.distance), at::cat(p.consistency),
          at::cat(p.quality), at::cat(p.present),  at::cat(p.target),
          at::cat(p.item),    optional(p.tokens),  optional(p.reader)};
}

Evidence evidence_of(const TrustFusion& trust, const Joined& j, const std::vector<Fold>& folds) {
  Evidence out = trust.weigh({j.logits, j.distance, j.consistency, j.tokens}, j.quality, j.present);
  if (!trust.joint()) return out;
  out.reader = j.reader;
  for (const Fold& fold : folds) out.readers.push_back(fold.without->joint());
  return out;
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
      at::Tensor breakage = trust.breakage(part);
      at::Tensor scores = trust.support(part, breakage).sum(1) + trust.prior_of(part);
      const auto [logs, answers] = models::by_question(trust.normalise(scores), y);
      at::Tensor loss =
          at::nll_loss(logs, answers) + options.own_loss * own_loss(trust, part, breakage, y);
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
  set_joint_temperature(*trust, folds);
  Pooled clean, bank, copies, swapped;
  const int64_t passes =
      std::max(options.bank_passes, (options.min_bank + train.size() - 1) / train.size());
  for (int64_t f = 0; f < options.folds; ++f) {
    const auto& [without, held_out, rows] = folds[static_cast<size_t>(f)];
    append(clean, *without, options, clean_bank(held_out), held_out.target, rows, f);
    for (const BankItems& items : one_copy_each(held_out))
      append(copies, *without, options, items, held_out.target, rows, f);
    if (streams.size() > 1 && !options.candidate_scores) {
      append(swapped, *without, options, swap_one(held_out, mix_seed(options.seed, 14, f)),
             held_out.target, rows, f);
    }
    for (int64_t pass = 0; pass < passes; ++pass) {
      append(bank, *without, options,
             draw_bank(held_out, spread.mean, spread.deviation,
                       mix_seed(options.seed, 100 + pass, f), bank_options_for(train)),
             held_out.target, rows, f);
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
    evidence = evidence_of(*trust, items, folds);
    target = items.target;
    item = items.item;
  };
  keep(clean_items, out.clean, out.clean_target, out.clean_item);
  keep(bank_items, out.damaged, out.damaged_target, out.damaged_item);
  if (!copies.target.empty()) keep(join(copies), out.copies, out.copies_target, out.copies_item);
  if (!swapped.target.empty())
    keep(join(swapped), out.swapped, out.swapped_target, out.swapped_item);
  train_gates(*trust, out.damaged, out.damaged_target, options);
  hold_out_gates(out, fold % kGateHalves, options);
  choose_strength(out, options);
  choose_joint_weight(out, options);
  fit_scales(out, options);
  for (const auto& part : out.held_out) part->train(false);
  out.trust->train(false);
  return out;
}

}  // namespace plait::train
