#pragma once
#include "plait/train/trust/trust_experts.h"

/// The part of `fit_trust` that learns from all streams at once.
namespace plait::train {

/// Trains the joint expert of a fusion whose stream experts know their scales, on the items of
/// `data`: streams are hidden at random (but never all), half of the draws of a stream are damaged
/// copies where there are any. Does nothing without a joint expert.
void train_joint(models::TrustFusion& trust, const TrustData& data, const TrustOptions& options,
                 uint64_t seed);

/// The temperature that calibrates what the folds' joint experts say of items held out.
void set_joint_temperature(models::TrustFusion& trust, const std::vector<Fold>& folds);

}  // namespace plait::train
