#pragma once
#include "plait/train/trust/calibrate_trust.h"

namespace plait::train {

/// The order in which streams are encoded, by errors removed per cost, and the confidences at which
/// an early answer loses no more than each of `options.route_losses`, on clean items, the bank's
/// and damaged copies each. Of fewer than two streams there is none.
/// @throws Error kInvalidArgument unless there is a cost for every stream, or for none.
void fit_route(models::TrustModel& model, const TrustItems& items,
               const TrustCalibrationOptions& options);

}  // namespace plait::train
