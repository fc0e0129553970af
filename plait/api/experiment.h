#pragma once
#include <string>
#include <vector>

#include "plait/api/fused_trainable.h"
#include "plait/models/trust/trust_model.h"
#include "plait/train/feature_dataset.h"
#include "plait/train/metrics.h"

namespace plait::api {

/// A way of presenting a data set: which streams are hidden and which are damaged.
struct Condition {
  std::string name;  ///< "all", "only_<stream>", "without_<stream>", "damaged_<stream>"
  std::map<std::string, int64_t> variant;  ///< Variant of FeatureDataset by stream; others clean
  std::vector<std::string> without, only;
};

/// all; each stream alone; each missing (with three or more streams these differ from "only"); each
/// damaged, by `damaged_variant`.
std::vector<Condition> standard_conditions(const std::vector<std::string>& streams,
                                           int64_t damaged_variant = 1);

struct ConditionResult {
  std::string name;
  train::Scalars metrics;  ///< accuracy, ece, nll, brier, aurc ... of calibrated probabilities
  std::map<std::string, double> weights;  ///< Mean weight by stream
  at::Tensor probabilities;               ///< [N, K]; of values their means [N, R]
  at::Tensor item_weights;                ///< [N, M]
};

/// Evaluates a task of classes, labels or values under each condition; `calibration` is the task's
/// part of calibration.json or null; with `trust` it is the trust fusion that answers. Of labels
/// the metrics are multi_label_metrics, of values regression_metrics and (with `trust`) "coverage"
/// and "interval_width" of the intervals for 90 %, the width in deviations of the values. Of labels
/// "coverage" is that of the sets for 90 %, "undecided" the share of labels that may be both.
std::vector<ConditionResult> evaluate_conditions(models::FusedNetwork& network,
                                                 const std::string& task,
                                                 const train::FeatureDataset& data,
                                                 const std::vector<Condition>& conditions,
                                                 const Json& calibration,
                                                 const models::TrustModel* trust = nullptr);

/// For every metric {"accuracy": {"all", "only_<stream>", ...}, "ece": {...}, "weights":
/// {condition: {stream: w}},
/// ...}
Json to_json(const std::vector<ConditionResult>& results);

/// Retrieval between every ordered pair of streams in the shared space of `task`: "text→image" →
/// recall@1, recall@5, recall@10, mrr over the items that have both.
std::map<std::string, train::Scalars> evaluate_retrieval(models::FusedNetwork& network,
                                                         const std::string& task,
                                                         train::BatchSource& data);

/// The task's calibration: a temperature per subset of present streams, fitted on every subset of
/// the validation items, clean and damaged (all variants), and "abstain_below": the least
/// confidence above which the error rate stays under `risk` on them.
Json fit_calibration(models::FusedNetwork& network, const std::string& task,
                     const train::FeatureDataset& validation, double risk = 0.1);

}  // namespace plait::api
