#pragma once
#include <memory>
#include <string>
#include <vector>

#include "plait/train/trust/calibrate_trust.h"

/// The trust fusion of a regression: values become bins of a ValueGrid, experts Gaussians on it.
namespace plait::train {

/// As fit_trust, for values y [N, R] of the items of `train` (whose target is not looked at). Every
/// row is finite.
/// @throws Error kInvalidArgument as fit_trust, and for values that never change.
TrustFit fit_trust_values(TrustData train, const at::Tensor& y,
                          const std::vector<std::string>& streams, TrustOptions options,
                          int64_t bins = models::ValueGrid::kBins);

/// Prediction intervals of a calibrated model (calibrate_trust), by group of streams and suspicion;
/// y [N, R] are the items' values.
void fit_intervals(models::TrustModel& model, const TrustItems& items, const at::Tensor& y);

}  // namespace plait::train
