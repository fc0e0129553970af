#pragma once
#include <map>
#include <string>
#include <vector>

#include "plait/core/json.h"
#include "plait/models/quality/quality.h"
#include "plait/models/trust/trust_model.h"

namespace plait::api {

/// What one stream had to do with an answer.
struct StreamExplanation {
  bool present = false;
  double weight = 0;  ///< Share of the evidence
  double contribution =
      0;                 ///< Nats for the answer against the other classes, in the mean over them
  double breakage = 0;   ///< Probability that the stream misleads
  std::string says;      ///< The stream's own answer
  double says_with = 0;  ///< Its probability
  std::vector<std::string> reasons;  ///< Why it is trusted less, in words; empty: nothing was found
  /// Counterfactuals: the answer without the stream ("" when it is the only one), and the answer
  /// had the stream said the runner-up where it said the answer.
  std::string without, otherwise;
  double without_confidence = 0, otherwise_confidence = 0;
};

struct Explanation {
  std::string label, runner_up;
  double confidence = 0;
  std::string decided_by;  ///< "trust", or what the guard lets answer for these streams
  std::map<std::string, StreamExplanation> streams;
  /// One line per stream of doubt: "audio: 2 dB over the floor, disagrees with image and text".
  std::vector<std::string> summary() const;
  Json to_json() const;
};

/// Explains one item. `evidence` and `joint` have one row; `quality` by stream as far as it is
/// known. @throws Error kInvalidArgument for more than one row.
Explanation explain(const models::TrustModel& trust, const models::Evidence& evidence,
                    const at::Tensor& joint, const std::vector<std::string>& labels,
                    const std::map<std::string, models::Quality>& quality);

}  // namespace plait::api
