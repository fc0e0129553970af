#include "plait/api/answer.h"

#include <ATen/ATen.h>

#include <cmath>

#include "plait/api/question_answers.h"
#include "plait/api/trust_fitting.h"
#include "plait/core/error.h"
#include "plait/models/trust/evidence.h"
#include "plait/train/calibrate.h"

namespace plait::api {
namespace {

using models::Decider;
using models::TrustModel;

/// [B, K] bool: the fewest labels whose probabilities reach `coverage`.
at::Tensor smallest_sets(const at::Tensor& probabilities, double coverage) {
  auto [sorted, order] = probabilities.sort(-1, /*descending=*/true);
  at::Tensor in = sorted.cumsum(-1) - sorted < coverage;
  return at::empty_like(in).scatter_(1, order, in);
}

/// What is said of all items, whoever says it.
struct Said {
  at::Tensor probabilities, sets;  ///< [B, K]; undefined for tasks without classes
  at::Tensor weights;              ///< [B, M]
  double abstain_below = 0;
  models::Evidence evidence;  ///< Where it is to be explained
  std::vector<Decider> deciders;
};

Said ask_trust(const models::FusedOutput& output, const AnswerContext& context,
               const PredictOptions& options) {
  Said out;
  const TrustModel& trust = *context.trust;
  const auto& names = context.network.stream_names();
  TrustModel::Verdict verdict;
  if (context.engine && !options.explain) {
    verdict = context.engine->decide(in_order(names, output.pooled), output.quality, output.present,
                                     context.logits);
    out.sets =
        context.engine->prediction_sets(verdict, options.coverage, options.class_conditional);
  } else {
    out.evidence = gather_evidence(trust, names, output.pooled, output.quality, output.present);
    verdict = trust.decide(out.evidence, context.logits);
    out.sets = trust.prediction_sets(verdict, options.coverage, options.class_conditional);
  }
  out.probabilities = verdict.log_probabilities.to(at::kDouble).exp();
  out.abstain_below = trust.abstain_below(options.risk);
  out.deciders = verdict.deciders;
  // The joint path's weights are the network's.
  at::Tensor joint = at::empty({output.present.size(0), 1}, at::kBool);
  for (size_t i = 0; i < verdict.deciders.size(); ++i)
    joint[static_cast<int64_t>(i)] = verdict.deciders[i] == Decider::kJoint;
  out.weights =
      at::where(joint, output.weights.to(at::kCPU, at::kDouble), verdict.weights.to(at::kDouble));
  return out;
}

Said ask_network(const models::FusedOutput& output, const AnswerContext& context,
                 const PredictOptions& options) {
  Said out;
  out.weights =
      context.weights.defined() ? context.weights : output.weights.to(at::kCPU, at::kDouble);
  if (!context.logits.defined()) return out;
  at::Tensor logits = context.logits;
  if (context.calibration && context.calibration->contains("subsets")) {
    logits = train::apply_calibration(*context.calibration, logits, output.present.to(at::kCPU),
                                      context.network.stream_names());
    out.abstain_below = context.calibration->get("abstain_below", 0.0);
  }
  out.probabilities = at::softmax(logits.to(at::kDouble), -1);
  out.sets = smallest_sets(out.probabilities, options.coverage);
  const auto& searched = context.searched;
  if (searched.sets.defined()) out.sets.index_copy_(0, searched.rows, searched.sets);
  return out;
}

/// Names of candidates: those asked for, else those of the gallery, else its rows.
std::vector<std::string> candidate_names(const AnswerContext& context, int64_t count) {
  if (!context.labels.empty()) return context.labels;
  if (!context.candidates.empty()) return context.candidates;
  std::vector<std::string> out;
  for (int64_t k = 0; k < count; ++k) out.push_back(std::to_string(k));
  return out;
}

void add_classes(Prediction& p, const Said& said, int64_t item,
                 const std::vector<std::string>& labels) {
  at::Tensor row = said.probabilities[item];
  const auto best = row.argmax().item<int64_t>();
  p.label = labels[static_cast<size_t>(best)];
  p.confidence = row[best].item<double>();
  at::Tensor order = row.argsort(0, /*descending=*/true);
  for (size_t k = 0; k < labels.size(); ++k)
    p.scores[labels[k]] = row[static_cast<int64_t>(k)].item<double>();
  for (int64_t i = 0; i < order.size(0); ++i) {
    const auto k = order[i].item<int64_t>();
    if (said.sets[item][k].item<bool>()) p.prediction_set.push_back(labels[static_cast<size_t>(k)]);
  }
  p.abstain = p.confidence < said.abstain_below;
}

/// Of a gallery: all of it, the most probable first.
void add_ranking(Prediction& p, const at::Tensor& probabilities, const at::Tensor& set,
                 const AnswerContext& context) {
  auto [sorted, order] = probabilities.contiguous().sort(0, /*descending=*/true);
  const auto* scores = sorted.const_data_ptr<double>();
  p.ranking.assign(order.const_data_ptr<int64_t>(),
                   order.const_data_ptr<int64_t>() + order.numel());
  p.ranking_scores.assign(scores, scores + sorted.numel());
  p.confidence = p.ranking_scores.front();
  const auto* in = set.const_data_ptr<bool>();
  for (int64_t row : p.ranking) {
    const bool named = !context.candidates.empty();
    if (named) p.ranking_names.push_back(context.candidates[static_cast<size_t>(row)]);
    if (in[row]) p.prediction_set.push_back(named ? p.ranking_names.back() : std::to_string(row));
  }
}

/// Why a search found what it found. @throws Error kInvalidArgument for an item that has no stream
/// of the query.
Explanation explain_search(const AnswerContext& context, int64_t item,
                           const std::map<std::string, models::Quality>& quality) {
  const AnswerContext::Searched& searched = context.searched;
  at::Tensor row = (searched.rows == item).nonzero().squeeze(1);
  if (row.size(0) == 0) {
    fail(ErrorCode::kInvalidArgument, "predict",
         "expected a stream of the query to explain a search, got the searched one alone");
  }
  Explanation out = explain(*searched.trust, models::select_rows(searched.evidence, row), {},
                            candidate_names(context, context.logits.size(1)), quality);
  out.kind = TaskKind::kOther;
  // The searched stream says nothing of itself.
  for (const std::string& name : context.network.stream_names()) out.streams[name];
  return out;
}

void add_embedding(Prediction& p, const TensorMap& raw, int64_t item) {
  if (raw.count("embedding")) {
    at::Tensor e = raw.at("embedding")[item].to(at::kCPU, at::kFloat).contiguous();
    p.embedding.assign(e.data_ptr<float>(), e.data_ptr<float>() + e.numel());
  }
}

}  // namespace

std::vector<Prediction> make_predictions(const models::FusedOutput& output,
                                         const AnswerContext& context,
                                         const PredictOptions& options,
                                         const QualityDetails& details) {
  require(options.coverage > 0 && options.coverage < 1, "predict",
          "expected a coverage between 0 and 1");
  if (options.explain && !context.trust && !context.searched.trust) {
    fail(ErrorCode::kInvalidArgument, "predict",
         "expected a model whose task \"" + context.task +
             "\" has a trust fusion to explain (of a search: with a gallery and a stream of the "
             "query); train it again, or leave explain out");
  }
  const auto& names = context.network.stream_names();
  at::Tensor present = output.present.to(at::kCPU);
  at::Tensor quality = output.quality.to(at::kCPU, at::kDouble);
  const TaskKind kind = kind_of(context.network.task_config(context.task));
  const bool questions = kind == TaskKind::kLabels || kind == TaskKind::kValues;
  QuestionAnswers answers;
  Said said;
  if (questions) {
    answers = answer_questions(output, context, options);
    said.weights = answers.weights;
    said.deciders = answers.deciders;
  } else {
    said =
        context.trust ? ask_trust(output, context, options) : ask_network(output, context, options);
  }
  std::vector<Prediction> out;
  for (int64_t i = 0; i < present.size(0); ++i) {
    Prediction p;
    p.task = context.task;
    p.model_version = context.version;
    for (size_t m = 0; m < names.size(); ++m) {
      const auto column = static_cast<int64_t>(m);
      p.modality_weights[names[m]] = said.weights[i][column].item<double>();
      if (present[i][column].item<bool>()) {
        p.quality[names[m]] = quality[i][column].item<double>();
      } else {
        p.missing.push_back(names[m]);
      }
    }
    if (questions) answers.add_to(p, i, context.labels);
    if (said.probabilities.defined() && context.labels.empty())
      add_ranking(p, said.probabilities[i], said.sets[i].contiguous(), context);
    else if (said.probabilities.defined())
      add_classes(p, said, i, context.labels);
    if (!context.decided_by.empty()) p.decided_by = context.decided_by[static_cast<size_t>(i)];
    if (!said.deciders.empty())
      p.decided_by = models::to_string(said.deciders[static_cast<size_t>(i)]);
    add_embedding(p, output.tasks.at(context.task), i);
    if (options.explain) {
      const std::map<std::string, models::Quality> known =
          details.empty() ? std::map<std::string, models::Quality>{}
                          : details[static_cast<size_t>(i)];
      if (questions) {
        p.explanation = answers.explain(*context.trust, i, context.labels, options.coverage, known);
      } else if (context.searched.trust) {
        p.explanation = explain_search(context, i, known);
      } else {
        at::Tensor row = at::full({1}, i, at::kLong);
        p.explanation = explain(*context.trust, models::select_rows(said.evidence, row),
                                context.logits.index_select(0, row), context.labels, known);
      }
      // Where the network's own fusion answered, its weights are the answer's.
      for (auto& [name, stream] : p.explanation->streams) stream.weight = p.modality_weights[name];
    }
    out.push_back(std::move(p));
  }
  return out;
}

}  // namespace plait::api
