#pragma once
#include <cstdint>
#include <map>
#include <string>

#include "plait/train/feature_dataset.h"

/// The protocol of multi-view studies: some views of some items are damaged in the space of the
/// features. Frozen, standardised features are expected ("vector" encoders make them), so that a
/// deviation of 1 is the spread of a feature over the training items and 0 is its mean. Everything
/// follows from the seed, the item's index and the view's name: the order of views and the strength
/// do not change which rows are hit. Tables are not written to: rows that are not hit are equal to
/// the given ones.
namespace plait::train {

using FeatureTables = std::map<std::string, FeatureTable>;  ///< By view, N items each.

/// Which rows are hit. Only views that an item has can be hit.
struct ViewShare {
  double items = 0.5;  ///< Share of the items, exact but for rounding.
  double views =
      0.5;  ///< Share of a hit item's views, rounded up or down so that the mean is right.
  /// Instead of `views`: 0 to M - 1 of its M views, each number as likely. Public code of the
  /// multi-view papers draws so (of six views, a sixth of the chosen items are then untouched).
  bool any_number = false;
};

/// A damaged copy and what was done, for an oracle.
struct DamagedViews {
  FeatureTables tables;
  at::Tensor hit;  ///< [N, M] bool; views in the order of the map, which is that of their names.
};

/// Gaussian noise of standard deviation `deviation` on the features of hit rows; a higher deviation
/// is the same noise, only stronger. 0 changes and hits nothing.
/// @throws Error kInvalidArgument for tables without features or of different lengths, shares
/// outside [0, 1], a negative or infinite deviation.
DamagedViews add_view_noise(const FeatureTables& tables, double deviation, uint64_t seed,
                            const ViewShare& share = {});

/// Unaligned views: a hit row is another item's, of another class, with its quality. `target` [N]
/// int64. A row for which no item of another class has the view stays as it is and is not hit.
DamagedViews swap_views(const FeatureTables& tables, const at::Tensor& target, uint64_t seed,
                        const ViewShare& share = {});

/// Dropped features: a share `features` of a hit row's features, drawn anew per row, is 0.
DamagedViews drop_features(const FeatureTables& tables, double features, uint64_t seed,
                           const ViewShare& share = {});

/// Missing views: `count` views of every item become absent (quality and features 0), but the last
/// one that an item has stays. `hit` marks what is gone.
DamagedViews remove_views(const FeatureTables& tables, int64_t count, uint64_t seed);

}  // namespace plait::train
