#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "plait/api/explanation.h"
#include "plait/core/json.h"
#include "plait/core/tensor_map.h"

namespace plait::api {

/// The answer to one item. The first block is always there; the members of tasks that the model
/// lacks stay empty (JSON null).
struct Prediction {
  std::map<std::string, double>
      modality_weights;                   ///< By stream of the model; 0 where missing, sums to 1
  std::map<std::string, double> quality;  ///< By present stream, in [0, 1]
  std::vector<std::string> missing;       ///< Streams of the model that the input lacks
  /// Calibrated probability that the answer is right: the class; all labels; every value within
  /// half a standard deviation of the training values (0 without a trust fusion).
  double confidence = 0;
  /// At the coverage asked for: of classes and candidates those among which the true one is
  /// (candidates by name, or by their row where they have none: the first of `ranking`); of labels
  /// those that may be present, each by itself; the most probable first.
  std::vector<std::string> prediction_set;
  bool abstain = false;              ///< The confidence lies below what the risk asked for allows
  std::vector<std::string> skipped;  ///< Streams that were given and not encoded: not needed, or
                                     ///< beyond the budget
  double compute_share = 1;          ///< Of what encoding all given streams costs, in multiply-adds
  double latency_ms = 0;
  std::string model_version;

  std::string task;        ///< The task that answered
  std::string decided_by;  ///< "trust", or what the guard lets answer; "" without one
  std::string label;       ///< "class" in JSON: the most probable label
  std::map<std::string, double>
      scores;  ///< Probability by label (classification, labels, zero-shot)
  std::optional<std::vector<std::string>> labels;  ///< Multi-label tasks: those that are likely
  /// Those of the prediction set that may not be absent either; none without a trust fusion.
  std::optional<std::vector<std::string>> sure_labels;
  std::vector<double> value;      ///< Regression: the mean
  std::vector<double> value_std;  ///< Regression: its standard deviation
  /// Regression: the interval that holds the true value as often as the coverage asked for; empty
  /// without a trust fusion, infinite where it was fitted on too few items for the coverage.
  std::vector<double> value_low, value_high;
  /// Retrieval with a gallery: its rows, the most probable first, and their probabilities.
  std::vector<int64_t> ranking;
  std::vector<std::string> ranking_names;  ///< PredictOptions::gallery_names in that order
  std::vector<double> ranking_scores;
  std::vector<float> embedding;  ///< Retrieval: the item in the shared space, length 1

  /// When it was asked for.
  std::optional<Explanation> explanation;
  /// Why the answer is what it is. @throws Error kInvalidArgument when it was not asked for
  /// (PredictOptions::explain).
  const Explanation& explain() const;

  /// Every key of the interface, those of other tasks as null.
  Json to_json() const;
};

}  // namespace plait::api
