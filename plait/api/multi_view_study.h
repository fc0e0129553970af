#pragma once
#include <functional>
#include <string>
#include <vector>

#include "plait/core/json.h"
#include "plait/data/datasets/datasets.h"
#include "plait/train/multi_view_noise.h"
#include "plait/train/trust/fit_trust.h"

namespace plait::api {

/// Standardised features of a multi-view data set, split for one seed.
struct MultiViewSplits {
  int64_t classes = 0;
  train::FeatureTables train, test;
  at::Tensor train_target, test_target;
};

/// Streams of tensors [D] with a class label, standardised by the training items.
/// @throws Error kInvalidArgument for a sample without one of the streams or its label.
MultiViewSplits multi_view_splits(const data::DatasetSplits& splits);

/// The multi-view protocol on one split: the trust fusion; the static fusions of the same experts
/// (best single out of fold, mean of probabilities, product, tempered product, contamination-robust
/// product with ε = 0.05); QMF, PDF, TMC and concatenation with modality dropout, trained on the
/// same items; and an oracle that knows which views are hit. Clean; Gaussian noise of 1, 5 and 10
/// times each feature's range over the training items, and swapped views, on half of the views of
/// half of the items; dropped features; 1, 3 and 5 views missing.
/// @return conditions in that order: {method: {condition: {"accuracy", "nll", "ece", "aurc"}}}
Json run_multi_view_study(const MultiViewSplits& data, const train::TrustOptions& options);

}  // namespace plait::api
