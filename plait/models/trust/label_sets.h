#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "plait/models/trust/conformal_scores.h"

namespace plait::models {

/// For every label which of its two options (no, yes) may hold, so that the true one is among them
/// as often as was asked for (split conformal prediction, Vovk et al. 2005, label by label; split
/// by groups as ConformalSets are). An item's score is the probability of the option that is not
/// true; an option is in when that of the other one lies below the ⌈(n + 1) · coverage⌉-th smallest
/// score of its group. The more probable option is always in.
///
/// Promise, for each label by itself over items that are exchangeable with the calibration items of
/// their group: the true option is in with probability `coverage` (up to 1/256 more, and more where
/// the more probable option is right more often than that). A label that hardly any item has keeps
/// that promise by always being absent; with `class_conditional` it holds for the items that have
/// the label and for those that do not by themselves, so that a label that is present is missed in
/// at most a share 1 − coverage of them (over all groups together). Thread-safe once fitted.
class LabelSets {
 public:
  /// Of more labels each is calibrated over all groups together: scores of every label in every
  /// group would outgrow the model.
  static constexpr int64_t kMostByGroup = 32;

  /// log_probabilities [N, 2L] (no and yes of one label after those of another), target [N, L] of 0
  /// and 1 ([N] of one label), group [N] int64.
  static LabelSets fit(const at::Tensor& log_probabilities, const at::Tensor& target,
                       const at::Tensor& group);
  /// [B, 2L] bool. What is too small for the coverage gives both options.
  /// @throws Error kInvalidArgument for a coverage outside (0, 1), other shapes, or when nothing
  /// was fitted.
  at::Tensor sets(const at::Tensor& log_probabilities, const at::Tensor& group, double coverage,
                  bool class_conditional = false) const;

  bool fitted() const { return labels() > 0; }
  int64_t labels() const { return scores_.columns(); }
  Json to_json() const;
  /// @throws Error kCorruptData for anything that to_json does not write.
  static LabelSets from_json(const Json& json);

 private:
  GroupedScores scores_;                           ///< By label
  std::vector<ConformalScores> absent_, present_;  ///< By label, of items without it and with it
};

}  // namespace plait::models
