#pragma once
#include <ATen/core/Tensor.h>

#include <map>

#include "plait/models/trust/conformal.h"

namespace plait::models {

/// Prediction sets of a search: the most probable candidates, so that the right one is among them
/// as often as was asked for. ConformalSets of several numbers of candidates; a gallery of K takes
/// the number nearest to it (by ratio).
///
/// Promise: with exactly one right candidate in the gallery and the others drawn at random from the
/// same stock as those of the calibration (items of other groups), it is in the set with
/// probability `coverage` where K is one of the calibrated numbers, over queries that are
/// exchangeable with the calibration items of their group. For other K it holds as far as
/// probabilities stay calibrated when the number changes; a right candidate that the gallery lacks
/// is of course in no set. Thread-safe once fitted.
class CandidateSets {
 public:
  /// Takes the sets that were calibrated with so many candidates (at least two).
  void add(int64_t candidates, ConformalSets sets);
  /// [B, K] bool, the most probable candidate always in. @throws Error kInvalidArgument for a
  /// coverage outside (0, 1) or when nothing was fitted.
  at::Tensor sets(const at::Tensor& log_probabilities, const at::Tensor& group,
                  double coverage) const;

  bool fitted() const { return !by_count_.empty(); }
  /// The calibrated number that K candidates go by.
  int64_t nearest(int64_t candidates) const;
  Json to_json() const;
  /// @throws Error kCorruptData for anything that to_json does not write.
  static CandidateSets from_json(const Json& json);

 private:
  std::map<int64_t, ConformalSets> by_count_;
};

}  // namespace plait::models
