#pragma once
#include <vector>

#include "plait/train/trust/fit_trust.h"

namespace plait::train {

/// How often and how strongly a stream of an item of the bank is damaged, in units of each
/// feature's deviation.
struct BankOptions {
  double damaged_copy = 0.5;  ///< One of the encoded damaged variants, where there are any
  /// Share of a touched item's streams that are hit, drawn per item from 0 to this: some items must
  /// have most of their streams broken, or the gates never learn whom to believe then.
  double most_hit = 1.0;
  /// What befalls a hit stream, in shares: Gaussian noise of log-uniform strength; 10 to 90 % of
  /// the features become the mean; another item's features.
  double noise = 0.4, occlusion = 0.15, swap = 0.45;
  double min_noise = 0.1, max_noise = 30;
  /// Share of the items whose streams all change alike before anything else befalls them: one
  /// offset per feature and pass, of log-uniform strength. Nothing is broken then.
  double drift = 0.2;
  double min_drift = 0.3, max_drift = 6;
  double missing = 0.15;     ///< Absent; never all streams of an item
  double clean_items = 0.3;  ///< Items that stay as they are
};

/// One pass over the data: features [M] of [N, D_m], quality and present [N, M].
struct BankItems {
  std::vector<at::Tensor> features;
  at::Tensor quality, present;
};

/// Damages a copy of the data; `mean` and `deviation` [M] are each stream's. Deterministic in the
/// seed.
BankItems draw_bank(const TrustData& data, const std::vector<at::Tensor>& mean,
                    const std::vector<at::Tensor>& deviation, uint64_t seed,
                    const BankOptions& options = {});
/// What suits the data. Encoded damaged copies show what damage looks like; beside them fewer items
/// are hit in the space of features, or the gates learn to distrust every change. Of two streams
/// none is swapped: nobody can tell which one is wrong, and gates that try learn what does not
/// hold.
BankOptions bank_options_for(const TrustData& data);
/// For every stream and each of its encoded damaged copies, the items with that copy in its place.
std::vector<BankItems> one_copy_each(const TrustData& data);
/// Every item with one of its streams (drawn from the seed) replaced by another item's; those of
/// one stream alone stay as they are. Nobody can tell which of two streams is wrong then, but that
/// they disagree can be seen.
BankItems swap_one(const TrustData& data, uint64_t seed);
/// The data as they are, in the bank's form.
BankItems clean_bank(const TrustData& data);

}  // namespace plait::train
