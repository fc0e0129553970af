#pragma once
#include <string>
#include <vector>

#include "plait/train/trust/trust_items.h"

namespace plait::train {

struct TrustCalibrationOptions {
  double level = 0.05;     ///< Of the guard's one-sided bounds
  double margin = 0.01;    ///< By how much accuracy the trust fusion may fall behind within them
  int64_t min_items = 30;  ///< Groups with fewer keep the trust fusion, temperature 1
  double abstention_delta = 0.1;  ///< With which probability each risk may be missed
  std::vector<double> route_losses = {0.005, 0.01, 0.02, 0.05};  ///< What a route may promise
  double route_delta = 0.1;
  std::vector<double> costs;  ///< Of each stream's encoder; empty: all alike
  uint64_t seed = 0;
};

/// [N'] int64: the rows that the deciders in charge can answer.
at::Tensor answerable(const models::TrustModel& model, const TrustItems& items);

/// The guard, temperatures, prediction sets, abstention and route of a fitted fusion.
///
/// Guard (never worse): in every group of items with the same streams (or as many of them, beyond
/// four) the fusion answers unless its accuracy falls behind that of another decider, on clean
/// items, the bank's or damaged copies: with m the mean difference per item and h the half width of
/// its one-sided bound, it stays when m + h ≤ margin, or, where the items are too few to show that
/// (h > margin / 2), when m ≤ margin. Otherwise the decider that gains the most, every kind of
/// items counting alike, answers. Of labels and values it is the loss of answers.h, not accuracy,
/// and where no other decider gains anything in all the fusion answers.
/// The joint path is compared on the rows where it was asked.
/// @throws Error kInvalidArgument for shapes or no items.
void calibrate_trust(models::TrustModel& model, const TrustItems& items,
                     const TrustCalibrationOptions& options = {});

}  // namespace plait::train
