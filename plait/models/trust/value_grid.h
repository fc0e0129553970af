#pragma once
#include <ATen/core/Tensor.h>

#include "plait/models/layers/module.h"

namespace plait::models {

/// Densities of R values on C bins each, evenly spaced over what the training targets take: what
/// makes a regression a question with options, so that everything that fuses probabilities fuses
/// densities. Inside, values are standardised. Everything is a buffer. Thread-safe after fitting.
///
/// The width of a bin is about 1/C of the targets' range: finer differences than a tenth of it are
/// lost. Bins at both ends take what lies beyond.
class ValueGrid : public Module {
 public:
  static constexpr int64_t kBins = 64;
  /// `values` R ≥ 1, `bins` C ≥ 4.
  explicit ValueGrid(int64_t values, int64_t bins = kBins);

  /// y [N, R] finite. Bins reach over all of them, or (long tails) three times as far beyond the
  /// middle nine tenths as these are wide.
  /// @throws Error kInvalidArgument for fewer than two rows, or a value that never changes.
  void fit(const at::Tensor& y);
  int64_t values() const { return values_; }
  int64_t bins() const { return bins_; }

  /// y [N, R] → [N] int64 of one value, [N, R] of several.
  at::Tensor bins_of(const at::Tensor& y) const;
  /// Standardised middles [N, R] of bins [N] or [N, R].
  at::Tensor middles_of(const at::Tensor& bins) const;
  /// Scores [B, R · C] of Gaussians with these standardised means and log variances [B, R], widened
  /// by a bin's own variance: smooth and finite however narrow. Differentiable.
  at::Tensor gaussian(const at::Tensor& mean, const at::Tensor& log_variance) const;
  /// Standardised: (y − location) / scale, and the like for deviations.
  at::Tensor standardise(const at::Tensor& y) const;
  const at::Tensor& scale() const { return scale_; }

  /// Of densities [B, R · C] (log probabilities of the bins), in the targets' own unit, [B, R]:
  at::Tensor mean(const at::Tensor& log_probabilities) const;
  at::Tensor deviation(const at::Tensor& log_probabilities) const;
  /// The values below which a share `level` [B, R] of each density lies, linear inside bins.
  /// Levels below 0 and above 1 go on beyond the grid, its whole width per unit.
  at::Tensor quantile(const at::Tensor& log_probabilities, const at::Tensor& level) const;
  /// The share of each density below y [B, R]; the inverse of `quantile`.
  at::Tensor share_below(const at::Tensor& log_probabilities, const at::Tensor& y) const;
  /// The share of each density within `half_width` (in standard deviations of the targets) of its
  /// mean.
  at::Tensor share_near_mean(const at::Tensor& log_probabilities, double half_width) const;

 private:
  /// Edges [R, C + 1] in the targets' own unit, double.
  at::Tensor edges() const;

  int64_t values_, bins_;
  at::Tensor location_, scale_, low_, step_;
};

}  // namespace plait::models
