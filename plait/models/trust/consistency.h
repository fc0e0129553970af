#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "plait/models/layers/module.h"

namespace plait::models {

/// Whether two streams are of one and the same item: the log-likelihood ratio of b's density
/// coordinates z_b given a's features against those of any item,
///
///   log N(z_b; f_ab(x_a), Σ_ab) − log p(z_b),
///
/// f_ab being the regression of z_b on x_a (StreamExpert) and Σ_ab the covariance of what it
/// misses on items that it has not seen; its mean is the pair's mutual information. Streams that
/// tell of one thing from two sides agree in more than the class, so a stream that is clean but
/// another item's is found out. Everything is a buffer, fitted in closed form. Thread-safe after
/// fitting.
class CrossConsistency : public Module {
 public:
  /// `widths` P_m: coordinates of each stream.
  explicit CrossConsistency(std::vector<int64_t> widths);

  /// told[a] [N, Σ P]: every stream's coordinates as a tells them without having seen the item;
  /// x[m] [N, P_m] as they are, present [N, M]. Pairs that fewer than 2·P items share stay silent.
  void fit(const std::vector<at::Tensor>& told, const std::vector<at::Tensor>& x,
           const at::Tensor& present);
  /// alone [B, M]: log p(z_b), see ClassDensity. → [B, M, M] nats at (b, a): how much better b is
  /// explained by a, within ±20; 0 on the diagonal.
  at::Tensor ratio(const std::vector<at::Tensor>& told, const std::vector<at::Tensor>& x,
                   const at::Tensor& alone) const;

 private:
  struct Pair {
    at::Tensor whitening;  ///< [P_b, P_b] W with W Wᵀ = Σ_ab⁻¹
    at::Tensor shift;      ///< [] log |W|, without the 2π that both sides share
    at::Tensor fitted;     ///< [] 1 when fitted
  };
  std::vector<int64_t> widths_, begin_;
  std::vector<std::vector<Pair>> pairs_;  ///< [a][b]
};

}  // namespace plait::models
