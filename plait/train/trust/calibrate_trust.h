#pragma once
#include <string>
#include <vector>

#include "plait/models/trust/trust_model.h"
#include "plait/train/trust/fit_trust.h"

namespace plait::train {

/// As they are; of the damage bank; with a stream encoded from a damaged input.
enum class ItemKind : int64_t { kClean = 0, kBank = 1, kCopy = 2 };

/// Items that no expert was trained on: N rows, of which several may be of one item.
struct TrustItems {
  models::Evidence evidence;
  at::Tensor target;  ///< [N] int64, [N, Q] of several questions
  at::Tensor item;    ///< [N] int64
  at::Tensor kind;    ///< [N] int64 of ItemKind
  /// [N, K] logits of the network's own fusion, NaN in rows where it was not asked; undefined when
  /// it never was.
  at::Tensor joint;
  /// Gates that were trained without some of the items, and which of them a row is new to (-1: the
  /// model's own); undefined: the model's own for all.
  std::vector<std::shared_ptr<models::TrustFusion>> held_out = {};
  at::Tensor gates = {};  ///< [N] int64
};

TrustItems select(const TrustItems& items, const at::Tensor& rows);
/// What the model says of items that its gates were not trained on.
models::TrustModel::Verdict decide(const models::TrustModel& model, const TrustItems& items);
/// [N'] int64: the rows that the deciders in charge can answer.
at::Tensor answerable(const models::TrustModel& model, const TrustItems& items);

/// What the fit's experts said of items that they had not seen: as they are, one row of the bank
/// and one damaged copy for each. More of the damage would make clean answers look unsure.
TrustItems out_of_fold_items(const TrustFit& fit, uint64_t seed);
/// Every row once more for every non-empty subset of its streams (up to four streams), or for every
/// number of them (drawn from the seed). Only for items without `joint`: that depends on the
/// subset.
TrustItems every_subset(const TrustItems& items, uint64_t seed);
/// Rows of both; they share their held-out gates, or one has none.
TrustItems stack(const TrustItems& a, const TrustItems& b);

struct TrustCalibrationOptions {
  double level = 0.05;     ///< Of the guard's one-sided bounds
  double margin = 0.01;    ///< By how much accuracy the trust fusion may fall behind within them
  int64_t min_items = 30;  ///< Groups with fewer keep the trust fusion, temperature 1
  double abstention_delta = 0.1;  ///< With which probability each risk may be missed
  double route_loss = 0.005, route_delta = 0.1;
  std::vector<double> costs;  ///< Of each stream's encoder; empty: all alike
  uint64_t seed = 0;
};

/// The guard, temperatures, prediction sets, abstention and route of a fitted fusion.
///
/// Guard (never worse): in every group of items with the same streams (or as many of them, beyond
/// four) the fusion answers unless its accuracy falls behind that of another decider, on clean
/// items, the bank's or damaged copies: with m the mean difference per item and h the half width of
/// its one-sided bound, it stays when m + h ≤ margin, or, where the items are too few to show that
/// (h > margin / 2), when m ≤ margin. Otherwise the decider that gains the most, every kind of
/// items counting alike, answers. Of labels and values it is the loss of answers.h, not accuracy.
/// The joint path is compared on the rows where it was asked.
/// @throws Error kInvalidArgument for shapes or no items.
void calibrate_trust(models::TrustModel& model, const TrustItems& items,
                     const TrustCalibrationOptions& options = {});

}  // namespace plait::train
