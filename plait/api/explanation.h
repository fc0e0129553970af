#pragma once
#include <map>
#include <string>
#include <vector>

#include "plait/api/task_targets.h"
#include "plait/core/json.h"
#include "plait/models/quality/quality.h"
#include "plait/models/trust/trust_model.h"

namespace plait::api {

/// From which probability on a label is given.
constexpr double kLabelThreshold = 0.5;

/// What one stream had to do with one of several labels, or with one value.
struct PartExplanation {
  std::string label;         ///< Of labels its name; of values empty
  double says = 0;           ///< The stream's own probability of the label; its own mean
  double low = 0, high = 0;  ///< Values: between them lies the share `coverage` of its own density
  /// Nats for the answer: of a label, for giving it (or leaving it out) against the other; of a
  /// value, at the answer against the mean over the prior.
  double contribution = 0;
  double without = 0;  ///< The probability or mean without the stream; NaN when it is the only one
};

/// What one stream had to do with an answer.
struct StreamExplanation {
  bool present = false;
  double quality = 0;       ///< Of the signal, in [0, 1]
  double weight = 0;        ///< Share of the evidence
  double contribution = 0;  ///< Nats for the answer against the other classes (candidates), in the
                            ///< mean over them; of labels and values the sum over `parts`
  double breakage = 0;      ///< Probability that the stream misleads
  std::string says;         ///< The stream's own answer: a class, "hot, wet", "12.5"
  double says_with = 0;     ///< Its probability (Prediction::confidence)
  std::vector<PartExplanation> parts;  ///< By label, or by value; empty for classes and candidates
  std::vector<std::string> reasons;  ///< Why it is trusted less, in words; empty: nothing was found
  /// Counterfactuals: the answer without the stream ("" when it is the only one), and the answer
  /// had the stream said the runner-up where it said the answer ("" of labels and values).
  std::string without, otherwise;
  double without_confidence = 0, otherwise_confidence = 0;
};

struct Explanation {
  TaskKind kind = TaskKind::kClasses;  ///< kOther: a search
  std::string label, runner_up;        ///< Classes and candidates; "" of labels and values
  double confidence = 0;
  std::string decided_by;  ///< "trust", or what the guard lets answer for these streams
  std::map<std::string, StreamExplanation> streams;
  /// One line per stream of doubt: "audio: 2 dB over the floor, disagrees with image and text".
  std::vector<std::string> summary() const;
  Json to_json() const;
};

/// Explains one item of a choice among classes, or candidates: `labels` are their names. `evidence`
/// and `joint` have one row; `quality` by stream as far as it is known. @throws Error
/// kInvalidArgument for more than one row, or not as many names.
Explanation explain(const models::TrustModel& trust, const models::Evidence& evidence,
                    const at::Tensor& joint, const std::vector<std::string>& labels,
                    const std::map<std::string, models::Quality>& quality);
/// The same of an item's labels, or of its values; `coverage` in (0, 1) of the streams' own
/// intervals.
Explanation explain_labels(const models::TrustModel& trust, const models::Evidence& evidence,
                           const at::Tensor& joint, const std::vector<std::string>& labels,
                           const std::map<std::string, models::Quality>& quality);
Explanation explain_values(const models::TrustModel& trust, const models::Evidence& evidence,
                           const at::Tensor& joint, double coverage,
                           const std::map<std::string, models::Quality>& quality);

}  // namespace plait::api
