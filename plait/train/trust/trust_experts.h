#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "plait/models/trust/trust_fusion.h"
#include "plait/train/trust/fit_trust.h"

/// The first part of `fit_trust`: all that every stream learns by itself.
namespace plait::train {

/// Some of the items; rows [N] int64.
TrustData rows_of(const TrustData& data, const at::Tensor& rows);
/// The items that have a stream.
at::Tensor rows_with(const TrustData& data, size_t m);

/// Networks, densities, radial basis functions and consistency, on the items of `data`. Kernels and
/// ridges that `shapes` does not hold yet are chosen and put there.
std::shared_ptr<models::TrustFusion> train_experts(
    const TrustData& data, const models::TrustFusion::Config& config, const TrustOptions& options,
    std::vector<models::RadialRegression::Shape>& shapes, uint64_t seed);

/// A fusion without some items, and these.
struct Fold {
  std::shared_ptr<models::TrustFusion> without;
  TrustData held_out;
  at::Tensor rows;  ///< Which they are
};

/// How much of each stream's expert is its network, for `trust` and every fold: what serves items
/// best that it has not seen.
void choose_shares(models::TrustFusion& trust, const std::vector<Fold>& folds);

}  // namespace plait::train
