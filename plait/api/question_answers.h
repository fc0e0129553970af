#pragma once
#include "plait/api/answer.h"
#include "plait/api/task_targets.h"

namespace plait::api {

/// What is said of items [B] by a task of labels or values.
struct QuestionAnswers {
  TaskKind kind = TaskKind::kOther;
  at::Tensor probabilities;    ///< Labels: [B, L]
  at::Tensor mean, deviation;  ///< Values: [B, R]
  at::Tensor low, high;   ///< Values: [B, R] ends of intervals; undefined without a calibration
  at::Tensor confidence;  ///< [B]; undefined where nobody knows
  at::Tensor weights;     ///< [B, M]
  at::Tensor sets;        ///< Labels: [B, 2L] bool, whether each may be absent and may be present;
                          ///< undefined without a calibration
  models::Evidence evidence;  ///< Where it is to be explained
  at::Tensor joint;           ///< [B, K] the network's own scores with it
  double abstain_below = 0;
  std::vector<models::Decider> deciders;  ///< By item; empty without a trust fusion

  /// Fills the prediction of one item.
  void add_to(Prediction& prediction, int64_t item, const std::vector<std::string>& labels) const;
  /// Why: of one item, where it was asked for (`evidence`).
  Explanation explain(const models::TrustModel& trust, int64_t item,
                      const std::vector<std::string>& labels, double coverage,
                      const std::map<std::string, models::Quality>& quality) const;

 private:
  void add_set(Prediction& prediction, int64_t item, const std::vector<std::string>& labels) const;
};

/// The trust fusion's answers, or without one the network's.
/// @throws Error kInvalidArgument for a task of another kind.
QuestionAnswers answer_questions(const models::FusedOutput& output, const AnswerContext& context,
                                 const PredictOptions& options);

}  // namespace plait::api
