#pragma once
#include "plait/train/trust/fit_trust.h"

/// The last part of `fit_trust`: how far gates and the joint expert are heard, and how much the
/// evidence of each subset of the streams weighs. All of it follows from items that neither experts
/// nor gates were trained on.
namespace plait::train {

/// Gates are heard as far as they take errors away from items new to them, and never so far that
/// they add any to clean items and encoded copies beyond what chance does.
void choose_strength(TrustFit& fit, const TrustOptions& options);

/// The joint expert is heard as far as it takes errors away: of the weights that gain beyond what
/// chance does (one-sided 95 %, over clean items, the bank and encoded copies, each counting alike)
/// the one that gains the most, else not at all. Does nothing without a joint expert.
void choose_joint_weight(TrustFit& fit, const TrustOptions& options);

/// The scalar a_S of every subset of up to six streams, beyond that of every number of them.
void fit_scales(TrustFit& fit, const TrustOptions& options);

}  // namespace plait::train
