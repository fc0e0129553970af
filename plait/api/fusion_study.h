#pragma once
#include <functional>
#include <string>
#include <vector>

#include "plait/core/json.h"
#include "plait/train/trust/calibrate_trust.h"
#include "plait/train/trust/trust_data.h"

/// Studies of fusion under damage: what every data set gives, whatever it is made of.
namespace plait::api {

/// One way in which the held-out items are presented.
struct StudyCondition {
  std::string name;       ///< "clean", "noise_10", "image/blur" ...
  train::TrustData test;  ///< One variant per stream
  at::Tensor hit;         ///< [N, M] bool: what an oracle knows to be damaged
  /// The kind of damage is one that training has seen (in the damaged copies of the training items,
  /// or in the damage bank); others are reported apart.
  bool seen = true;
};

/// One data set, split for one seed; the same for every method.
struct StudyData {
  std::string dataset, licence;
  std::string note;  ///< What is real and what is synthetic
  int64_t classes = 0;
  std::vector<std::string> streams;
  train::TrustData train;  ///< Variant 0 clean, further ones encoded from damaged inputs
  std::vector<StudyCondition> conditions;  ///< The first one is "clean"
  std::vector<double> costs;  ///< Multiply-adds of each stream's encoder; empty: taken as equal
};

using StudyProgress = std::function<void(const std::string& stage, double share)>;

struct StudyOptions {
  train::TrustOptions trust;
  train::TrustCalibrationOptions calibration;
  std::vector<std::string> baselines;  ///< Of train::baseline_names()
  std::vector<double> dynmm_weights;  ///< Of the cost in the loss of DynMM's gates; empty: no curve
};

/// Names of the static fusions of the trust fusion's own experts, as studies list them.
const std::vector<std::string>& static_names();

/// Every method on one split: the trust fusion with all that is calibrated on it ("trust"), bare of
/// the guard ("trust_bare"), an oracle that knows which streams are hit ("oracle"), the static
/// fusions of the same experts (the best single stream and "best_static", the best fusion of them,
/// chosen out of fold) and trained baselines.
/// @return {"methods": {method: {condition: {"accuracy", "nll", "brier", "ece", "aurc"}}},
///   "seen": {condition: bool},
///   "never_worse": {condition: {"best_single" | "best_static": {"items", "lost", "won"}}}: items
///     that the other one has right and trust has wrong, and the other way round,
///   "calibration": {condition: {"ece", "ece_of_calibrated"}}: the latter the mean of simulated
///     answers that are right as often as they say,
///   "sets": {condition: {"0.9": {"coverage", "size"}, ...}},
///   "permuted": {condition: accuracy with breakages exchanged between items},
///   "route": {condition: {"cost", "accuracy", "full", "lost"}},
///   "route_curve": [{"loss", "cost", "accuracy", "full", "lost"}] of clean items, by what an early
///     answer may lose,
///   "dynmm_curve": [{"gate", "weight", "cost", "branch_cost", "accuracy"}] of clean items, by what
///     compute weighs in the loss of DynMM's gates (train::fit_dynmm_gates; branches: each stream,
///     the route's first stream with one other, all). "gate": "first" looks at the route's first
///     stream alone, "all" at all (every second weight). "cost": share of the encoders'
///     multiply-adds for what the gate looks at and the chosen branch reads, in the mean over
///     items; "branch_cost": without what only the gate looks at. The networks behind the encoders
///     count nowhere, as in "route_curve",
///   "guard": who answers for which subset, "seconds": of the fit}
Json run_fusion_study(const StudyData& data, const StudyOptions& options,
                      const StudyProgress& progress = {});

/// The first `count` training items of a stratified draw.
StudyData with_fewer_items(const StudyData& data, int64_t count, uint64_t seed);

}  // namespace plait::api
