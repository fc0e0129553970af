#include "plait/api/question_answers.h"

#include <ATen/ATen.h>

#include <tuple>

#include "plait/api/trust_fitting.h"
#include "plait/core/error.h"
#include "plait/models/trust/evidence.h"

namespace plait::api {
namespace {

using models::Decider;
using models::TrustModel;

void ask_network(QuestionAnswers& out, const TensorMap& raw) {
  if (out.kind == TaskKind::kLabels) {
    out.probabilities = raw.at("label_logits").to(at::kCPU, at::kDouble).sigmoid();
    out.confidence = at::maximum(out.probabilities, 1 - out.probabilities).prod(1);
    return;
  }
  out.mean = raw.at("mean").to(at::kCPU, at::kDouble);
  out.deviation = (raw.at("log_variance").to(at::kCPU, at::kDouble) / 2).exp();
}

/// [B, M]: the network's own weights where it answered.
at::Tensor weights_of(const TrustModel::Verdict& verdict, const at::Tensor& network) {
  std::vector<at::Tensor> rows;
  for (size_t i = 0; i < verdict.deciders.size(); ++i) {
    const auto row = static_cast<int64_t>(i);
    rows.push_back(verdict.deciders[i] == Decider::kJoint ? network[row]
                                                          : verdict.weights[row].to(at::kDouble));
  }
  return at::stack(rows);
}

void ask_trust(QuestionAnswers& out, const models::FusedOutput& output,
               const AnswerContext& context, const PredictOptions& options) {
  const TrustModel& trust = *context.trust;
  const models::Evidence evidence = gather_evidence(trust, context.network.stream_names(),
                                                    output.pooled, output.quality, output.present);
  const at::Tensor joint = joint_scores(trust.fusion(), output.tasks.at(context.task));
  const TrustModel::Verdict verdict = trust.decide(evidence, joint);
  if (options.explain) out.evidence = evidence, out.joint = joint;
  out.deciders = verdict.deciders;
  out.weights = weights_of(verdict, out.weights);
  out.confidence = trust.confidence(verdict);
  out.abstain_below = trust.abstain_below(options.risk);
  if (const models::ValueGrid* grid = trust.fusion().grid()) {
    out.mean = grid->mean(verdict.log_probabilities);
    out.deviation = grid->deviation(verdict.log_probabilities);
    if (trust.has_intervals())
      std::tie(out.low, out.high) = trust.prediction_intervals(verdict, options.coverage);
    return;
  }
  out.probabilities =
      verdict.log_probabilities.to(at::kDouble).exp().unflatten(1, {-1, 2}).select(2, 1);
  if (trust.has_sets())
    out.sets = trust.prediction_sets(verdict, options.coverage, options.class_conditional);
}

}  // namespace

void QuestionAnswers::add_set(Prediction& p, int64_t item,
                              const std::vector<std::string>& labels) const {
  const at::Tensor order = probabilities[item].argsort(0, /*descending=*/true);
  p.sure_labels.emplace();
  for (int64_t i = 0; i < order.size(0); ++i) {
    const auto k = order[i].item<int64_t>();
    const std::string& label = labels[static_cast<size_t>(k)];
    if (!sets[item][2 * k + 1].item<bool>()) continue;
    p.prediction_set.push_back(label);
    if (!sets[item][2 * k].item<bool>()) p.sure_labels->push_back(label);
  }
}

Explanation QuestionAnswers::explain(const models::TrustModel& trust, int64_t item,
                                     const std::vector<std::string>& labels, double coverage,
                                     const std::map<std::string, models::Quality>& quality) const {
  at::Tensor row = at::full({1}, item, at::kLong);
  const models::Evidence own = models::select_rows(evidence, row);
  const at::Tensor scores = joint.index_select(0, row);
  return kind == TaskKind::kLabels ? explain_labels(trust, own, scores, labels, quality)
                                   : explain_values(trust, own, scores, coverage, quality);
}

void QuestionAnswers::add_to(Prediction& p, int64_t item,
                             const std::vector<std::string>& labels) const {
  if (confidence.defined()) {
    p.confidence = confidence[item].item<double>();
    p.abstain = p.confidence < abstain_below;
  }
  if (kind == TaskKind::kLabels) {
    p.labels.emplace();
    for (size_t k = 0; k < labels.size(); ++k) {
      const auto probability = probabilities[item][static_cast<int64_t>(k)].item<double>();
      p.scores[labels[k]] = probability;
      if (probability >= kLabelThreshold) p.labels->push_back(labels[k]);
    }
    if (sets.defined()) add_set(p, item, labels);
    return;
  }
  for (int64_t r = 0; r < mean.size(1); ++r) {
    p.value.push_back(mean[item][r].item<double>());
    p.value_std.push_back(deviation[item][r].item<double>());
    if (!low.defined()) continue;
    p.value_low.push_back(low[item][r].item<double>());
    p.value_high.push_back(high[item][r].item<double>());
  }
}

QuestionAnswers answer_questions(const models::FusedOutput& output, const AnswerContext& context,
                                 const PredictOptions& options) {
  QuestionAnswers out;
  out.kind = kind_of(context.network.task_config(context.task));
  require(out.kind == TaskKind::kLabels || out.kind == TaskKind::kValues, "predict",
          "expected a task of labels or values");
  out.weights = output.weights.to(at::kCPU, at::kDouble);
  if (context.trust) {
    ask_trust(out, output, context, options);
  } else {
    ask_network(out, output.tasks.at(context.task));
  }
  return out;
}

}  // namespace plait::api
