#pragma once
#include <map>
#include <string>
#include <vector>

#include "plait/api/multimodal_model.h"
#include "plait/runtime/trust_engine.h"

namespace plait::api {

/// What turns a network's output into predictions.
struct AnswerContext {
  const models::FusedNetwork& network;
  std::string task;
  std::vector<std::string> labels;            ///< Of the classes, or those that were asked for
  at::Tensor logits;                          ///< [B, K]; undefined for tasks without classes
  const Json* calibration = nullptr;          ///< The task's; null: none
  const models::TrustModel* trust = nullptr;  ///< Null: the network alone answers
  const runtime::TrustEngine* engine =
      nullptr;                          ///< The same for answers without explanation, if any
  at::Tensor weights;                   ///< [B, M] where others than the network's count
  std::vector<std::string> decided_by;  ///< By item; empty: nobody but the network
  std::string version;
  std::vector<std::string> candidates = {};  ///< Names of a gallery's rows; may be empty

  /// What a search's trust fusion says of those items that have a query stream.
  struct Searched {
    const models::TrustModel* trust = nullptr;  ///< Null: nobody was asked
    at::Tensor rows;                            ///< [B'] int64
    at::Tensor sets;                            ///< [B', K] bool; undefined without a calibration
    models::Evidence evidence;                  ///< Of them
  } searched = {};
};

/// Quality in detail by item and stream, as far as it is known; may be empty.
using QualityDetails = std::vector<std::map<std::string, models::Quality>>;

/// One prediction per item of `output`, latency not set.
std::vector<Prediction> make_predictions(const models::FusedOutput& output,
                                         const AnswerContext& context,
                                         const PredictOptions& options,
                                         const QualityDetails& details);

}  // namespace plait::api
