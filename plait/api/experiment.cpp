#include "plait/api/experiment.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "plait/api/question_answers.h"
#include "plait/api/trust_fitting.h"
#include "plait/core/error.h"
#include "plait/train/calibrate.h"

namespace plait::api {
namespace {

/// Every non-empty subset of the streams, as FeatureDataset::fix's `only`.
std::vector<std::vector<std::string>> subsets_of(const std::vector<std::string>& streams) {
  std::vector<std::vector<std::string>> out;
  for (size_t bits = 1; bits < (size_t{1} << streams.size()); ++bits) {
    std::vector<std::string> subset;
    for (size_t m = 0; m < streams.size(); ++m) {
      if (bits >> m & 1) subset.push_back(streams[m]);
    }
    out.push_back(std::move(subset));
  }
  return out;
}

/// The least confidence t such that items with confidence >= t are wrong at most `risk` of the
/// time; 1 when none is.
double abstention_threshold(const at::Tensor& probabilities, const at::Tensor& target,
                            double risk) {
  auto [confidence, predicted] = probabilities.max(1);
  at::Tensor order = confidence.argsort(0, /*descending=*/true);
  at::Tensor wrong = (predicted != target).index_select(0, order).to(at::kDouble);
  at::Tensor rate = wrong.cumsum(0) / at::arange(1, wrong.size(0) + 1, wrong.options());
  at::Tensor good = (rate <= risk).nonzero();
  if (good.size(0) == 0) return 1.0;
  return confidence.index_select(0, order)[good[good.size(0) - 1].item<int64_t>()].item<double>();
}

/// A task of labels or values under one condition; fills metrics, answers and weights.
void evaluate_questions(const models::FusedNetwork& network, const std::string& task,
                        const models::TrustModel* trust, const Answers& answers,
                        ConditionResult& result) {
  PredictOptions options;
  models::FusedOutput output;
  output.tasks = answers.tasks;
  output.weights = answers.weights;
  output.present = answers.present;
  output.quality = answers.quality;
  output.pooled = answers.pooled;
  AnswerContext context{network, task, {}, {}, nullptr, trust, nullptr, {}, {}, ""};
  QuestionAnswers said = answer_questions(output, context, options);
  at::Tensor target = get(answers.targets, task, "experiment");
  result.item_weights = said.weights;
  if (said.kind == TaskKind::kLabels) {
    result.probabilities = said.probabilities;
    result.metrics = train::multi_label_metrics(said.probabilities, target);
    if (!said.sets.defined()) return;
    at::Tensor known = is_known(target).nonzero().squeeze(1);
    at::Tensor sets = said.sets.index_select(0, known).unflatten(1, {-1, 2});
    at::Tensor held = sets.gather(2, target.index_select(0, known).unsqueeze(2));
    result.metrics["coverage"] = held.to(at::kDouble).mean().item<double>();
    result.metrics["undecided"] = sets.all(-1).to(at::kDouble).mean().item<double>();
    return;
  }
  result.probabilities = said.mean;
  result.metrics = train::regression_metrics(said.mean, target);
  if (!said.low.defined()) return;
  at::Tensor y = target.to(at::kDouble), known = y.isfinite();
  at::Tensor inside = at::logical_and(y >= said.low, y <= said.high).masked_select(known);
  at::Tensor unit = trust->fusion().grid()->scale().to(at::kDouble);
  result.metrics["coverage"] = inside.to(at::kDouble).mean().item<double>();
  result.metrics["interval_width"] = ((said.high - said.low) / unit).mean().item<double>();
}

}  // namespace

std::vector<Condition> standard_conditions(const std::vector<std::string>& streams,
                                           int64_t damaged_variant) {
  std::vector<Condition> out = {{"all", {}, {}, {}}};
  for (const std::string& s : streams) out.push_back({"only_" + s, {}, {}, {s}});
  for (const std::string& s : streams) {
    if (streams.size() > 1) out.push_back({"without_" + s, {}, {s}, {}});
  }
  for (const std::string& s : streams)
    out.push_back({"damaged_" + s, {{s, damaged_variant}}, {}, {}});
  return out;
}

std::vector<ConditionResult> evaluate_conditions(models::FusedNetwork& network,
                                                 const std::string& task,
                                                 const train::FeatureDataset& data,
                                                 const std::vector<Condition>& conditions,
                                                 const Json& calibration,
                                                 const models::TrustModel* trust) {
  std::vector<ConditionResult> out;
  const auto& names = network.stream_names();
  for (const Condition& condition : conditions) {
    auto view = data.fix(condition.variant, condition.without, condition.only);
    Answers answers = answer_all(network, *view);
    if (!answers.weights.defined()) continue;
    ConditionResult result;
    result.name = condition.name;
    auto add_weights = [&] {
      at::Tensor mean = result.item_weights.to(at::kDouble).mean(0);
      for (size_t m = 0; m < names.size(); ++m)
        result.weights[names[m]] = mean[static_cast<int64_t>(m)].item<double>();
    };
    if (kind_of(network.task_config(task)) != TaskKind::kClasses) {
      evaluate_questions(network, task, trust, answers, result);
      add_weights();
      out.push_back(std::move(result));
      continue;
    }
    at::Tensor logits = get(answers.tasks.at(task), "logits", "experiment");
    if (trust) {
      models::TrustModel::Verdict verdict = trust->decide(
          gather_evidence(*trust, names, answers.pooled, answers.quality, answers.present), logits);
      result.probabilities = verdict.log_probabilities.to(at::kDouble).exp();
      answers.weights = verdict.weights;
    } else {
      if (!calibration.is_null())
        logits = train::apply_calibration(calibration, logits, answers.present, names);
      result.probabilities = at::softmax(logits.to(at::kDouble), -1);
    }
    result.metrics = train::classification_metrics(result.probabilities,
                                                   get(answers.targets, task, "experiment"));
    result.item_weights = answers.weights;
    add_weights();
    out.push_back(std::move(result));
  }
  return out;
}

std::map<std::string, train::Scalars> evaluate_retrieval(models::FusedNetwork& network,
                                                         const std::string& task,
                                                         train::BatchSource& data) {
  Answers answers = answer_all(network, data);
  const at::Tensor& each = get(answers.tasks.at(task), "stream_embedding", "experiment");
  const auto& names = network.stream_names();
  std::map<std::string, train::Scalars> out;
  for (size_t a = 0; a < names.size(); ++a) {
    for (size_t b = 0; b < names.size(); ++b) {
      if (a == b) continue;
      auto from = static_cast<int64_t>(a), to = static_cast<int64_t>(b);
      at::Tensor rows =
          at::logical_and(answers.present.select(1, from), answers.present.select(1, to))
              .nonzero()
              .squeeze(1);
      if (rows.size(0) < 2) continue;
      at::Tensor queries = each.select(1, from).index_select(0, rows),
                 gallery = each.select(1, to).index_select(0, rows);
      out[names[a] + "→" + names[b]] = train::retrieval_metrics(
          at::matmul(queries, gallery.t()), at::arange(rows.size(0), at::kLong));
    }
  }
  return out;
}

Json to_json(const std::vector<ConditionResult>& results) {
  Json out = Json::object({});
  for (const ConditionResult& r : results) {
    for (const char* metric : {"accuracy", "ece", "nll", "brier", "aurc", "micro_f1", "exact_match",
                               "rmse", "mae", "r2", "coverage", "interval_width", "undecided"}) {
      auto it = r.metrics.find(metric);
      if (it != r.metrics.end()) out[metric][r.name] = it->second;
    }
    for (const auto& [stream, weight] : r.weights) out["weights"][r.name][stream] = weight;
  }
  return out;
}

Json fit_calibration(models::FusedNetwork& network, const std::string& task,
                     const train::FeatureDataset& validation, double risk) {
  const auto& names = network.stream_names();
  std::vector<at::Tensor> logits, present, targets;
  for (const auto& subset : subsets_of(names)) {
    int64_t variants = 1;
    for (const std::string& s : subset) variants = std::max(variants, validation.variants(s));
    // Clean; then every stream of the subset damaged in turn, by each of its copies.
    std::vector<std::map<std::string, int64_t>> damages = {{}};
    for (const std::string& s : subset) {
      for (int64_t v = 1; v < validation.variants(s); ++v) damages.push_back({{s, v}});
    }
    for (const auto& damage : damages) {
      auto view = validation.fix(damage, {}, subset);
      Answers answers = answer_all(network, *view);
      if (!answers.weights.defined()) continue;
      logits.push_back(get(answers.tasks.at(task), "logits", "calibrate"));
      present.push_back(answers.present);
      targets.push_back(get(answers.targets, task, "calibrate"));
    }
  }
  require(!logits.empty(), "calibrate", "expected items with at least one stream");
  at::Tensor all_logits = at::cat(logits), all_present = at::cat(present),
             all_targets = at::cat(targets);
  Json out = train::calibrate(all_logits, all_targets, all_present, names);
  at::Tensor calibrated = train::apply_calibration(out, all_logits, all_present, names);
  out["abstain_below"] = abstention_threshold(at::softmax(calibrated, -1), all_targets, risk);
  out["risk"] = risk;
  return out;
}

}  // namespace plait::api
