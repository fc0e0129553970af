#pragma once
#include "plait/train/trust/calibrate_trust.h"

/// Prediction sets of tasks that are not one choice among classes, on top of calibrate_trust.
namespace plait::train {

/// Of labels: models::LabelSets by group of streams and suspicion, of items as calibrate_trust
/// takes them. @throws Error kInvalidArgument for a fusion of anything but labels.
void fit_label_sets(models::TrustModel& model, const TrustItems& items);

/// Of a search: models::CandidateSets, of out-of-fold items whose candidates fit_trust_retrieval
/// drew (the right one last): with all of them, and with the last 2, 4, 8, … of them.
/// @throws Error kInvalidArgument for a fusion of anything but candidates.
void fit_candidate_sets(models::TrustModel& model, const TrustItems& items);

}  // namespace plait::train
