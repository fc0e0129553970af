#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <string_view>
#include <vector>

#include "plait/models/trust/trust_fusion.h"

namespace plait::models {

/// Who answers from what the streams say: the trust fusion, the network's own fusion of features
/// (the joint path), or a fusion of the experts that looks at no input but weighs all alike.
enum class Decider { kTrust, kJoint, kRobustProduct, kProduct, kMean, kBestSingle };

/// "trust", "joint", "robust_product", "product", "mean", "best_single".
std::string to_string(Decider decider);
/// @throws Error kCorruptData that lists the names.
Decider decider_from_string(std::string_view name);

/// The fusions that need nothing but calibrated experts and a prior: baselines of every table, and
/// what an answer falls back to where the trust fusion was not shown to be as good.
class StaticFusions {
 public:
  /// ε of the contamination-robust product.
  static constexpr double kFloor = 0.05;
  /// `log_prior` [K]; `ranking`: the streams, the best alone first; the K numbers answer
  /// `questions`.
  StaticFusions(at::Tensor log_prior, std::vector<int64_t> ranking, int64_t questions = 1);

  /// [B, K] log probabilities, not tempered:
  ///   best_single     p_m of the first stream of the ranking that the item has
  ///   mean            (1/|S|) Σ_{m∈S} p_m
  ///   product         π Π_{m∈S} p_m/π, normalised
  ///   robust_product  π Π_{m∈S} ((1 − ε) p_m/π + ε), normalised
  /// @throws Error kInvalidArgument for kTrust and kJoint.
  at::Tensor decide(Decider decider, const Evidence& evidence) const;
  /// Nats [B, M, K] that each stream adds to each class; for the mean, which adds none, the log
  /// ratio of its answer to the answer without the stream.
  at::Tensor support(Decider decider, const Evidence& evidence) const;
  const std::vector<int64_t>& ranking() const { return ranking_; }

 private:
  at::Tensor chosen(const Evidence& evidence) const;
  /// [K]; all alike where there are other candidates than in the fit.
  at::Tensor prior_of(const Evidence& evidence) const;

  at::Tensor log_prior_;
  std::vector<int64_t> ranking_;
  int64_t questions_;
};

}  // namespace plait::models
