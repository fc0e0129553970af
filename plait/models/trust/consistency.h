#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "plait/models/layers/module.h"

namespace plait::models {

/// Whether two streams are of one and the same item: for every ordered pair (a, b) the coordinates
/// of b are regressed on those of a, and the log-likelihood ratio of b's coordinates given a's
/// against b's alone says how well they belong together (two Gaussians; in the limit of canonical
/// correlation analysis, Bach & Jordan 2005, the pair's mutual information). Streams that tell of
/// one thing from two sides agree in more than the class, so a stream that is clean but another
/// item's is found out. Everything is a buffer, fitted in closed form. Thread-safe after fitting.
class CrossConsistency : public Module {
 public:
  explicit CrossConsistency(std::vector<int64_t> widths);

  /// x[m] [N, P_m] coordinates, present [N, M]; pairs that fewer than 2·P items share stay silent.
  void fit(const std::vector<at::Tensor>& x, const at::Tensor& present);
  /// [B, P_m] each → [B, M, M] nats at (b, a): how much better b is explained by a, within ±20; 0
  /// on the diagonal.
  at::Tensor ratio(const std::vector<at::Tensor>& x) const;

 private:
  struct Pair {
    at::Tensor weight, residual;  ///< [P_a, P_b], whitening of what remains [P_b, P_b]
    at::Tensor shift;             ///< [] ½(log|Σ_b| − log|Σ_b|a|); NaN-free, 0 when silent
    at::Tensor fitted;            ///< [] 1 when fitted
  };
  std::vector<int64_t> widths_;
  std::vector<at::Tensor> mean_, whitening_;  ///< Of each stream alone
  std::vector<std::vector<Pair>> pairs_;      ///< [a][b]
};

}  // namespace plait::models
