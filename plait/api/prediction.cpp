#include "plait/api/prediction.h"

#include <cmath>

#include "plait/core/error.h"

namespace plait::api {
namespace {

Json numbers(const std::map<std::string, double>& values) {
  Json::Object out;
  for (const auto& [name, value] : values) out.emplace_back(name, value);
  return Json(std::move(out));
}

/// An end that is not finite is null: there is no bound.
Json ends(const std::vector<double>& values) {
  Json out = Json::array();
  for (double value : values) out.push_back(std::isfinite(value) ? Json(value) : Json());
  return out;
}

}  // namespace

const Explanation& Prediction::explain() const {
  if (!explanation) {
    fail(ErrorCode::kInvalidArgument, "explain",
         "expected a prediction that was made with explain = true");
  }
  return *explanation;
}

Json Prediction::to_json() const {
  Json out = Json::object({{"class", label.empty() ? Json() : Json(label)},
                           {"confidence", confidence},
                           {"scores", scores.empty() ? Json() : numbers(scores)},
                           {"prediction_set", Json(prediction_set)},
                           {"abstain", abstain},
                           {"modality_weights", numbers(modality_weights)},
                           {"quality", numbers(quality)},
                           {"missing", Json(missing)},
                           {"skipped", Json(skipped)},
                           {"compute_share", compute_share},
                           {"decided_by", decided_by.empty() ? Json() : Json(decided_by)},
                           {"task", task},
                           {"latency_ms", latency_ms},
                           {"model_version", model_version}});
  out["value"] = value.empty() ? Json() : Json(value);
  out["value_std"] = value_std.empty() ? Json() : Json(value_std);
  out["value_low"] = value_low.empty() ? Json() : ends(value_low);
  out["value_high"] = value_high.empty() ? Json() : ends(value_high);
  out["ranking"] = ranking.empty() ? Json() : Json(ranking);
  out["ranking_scores"] = ranking_scores.empty() ? Json() : Json(ranking_scores);
  out["ranking_names"] = ranking_names.empty() ? Json() : Json(ranking_names);
  out["labels"] = labels ? Json(*labels) : Json();
  out["sure_labels"] = sure_labels ? Json(*sure_labels) : Json();
  out["embedding"] =
      embedding.empty() ? Json() : Json(std::vector<double>(embedding.begin(), embedding.end()));
  out["explanation"] = explanation ? explanation->to_json() : Json();
  for (const char* other : {"text_output", "image_generation", "audio_output", "severity_score",
                            "bounding_box", "boxes", "heatmap", "description"}) {
    out[other] = Json();
  }
  return out;
}

}  // namespace plait::api
