#include "plait/api/question_answers.h"

#include <ATen/ATen.h>

#include <tuple>

#include "plait/api/trust_fitting.h"
#include "plait/core/error.h"

namespace plait::api {
namespace {

using models::Decider;
using models::TrustModel;

constexpr double kThreshold = 0.5;  ///< From which probability on a label is given

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
  const TrustModel::Verdict verdict =
      trust.decide(evidence, joint_scores(trust.fusion(), output.tasks.at(context.task)));
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
}

}  // namespace

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
      if (probability >= kThreshold) p.labels->push_back(labels[k]);
    }
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
