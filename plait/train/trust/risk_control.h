#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

/// Bounds that hold for finitely many items, whatever the distribution.
namespace plait::train {

/// P(X <= errors) for X ~ Binomial(items, risk): the p-value of "the risk is above `risk`" after
/// `errors` were seen.
double binomial_tail(int64_t errors, int64_t items, double risk);

/// The least confidence t for which, with probability 1 − delta over the items, answers of
/// confidence ≥ t are wrong in at most a share `risk` (selective risk: Geifman & El-Yaniv 2017,
/// https://arxiv.org/abs/1705.08500; by fixed-sequence testing as in Angelopoulos et al. 2021: more
/// and more items are answered, a tenth more each time, until the first count of errors that does
/// not show the risk to be kept; two sequences, which start at 2 and at 6 times the fewest items
/// that could show it, share delta). Above 1 when there is none.
/// `confidence` [N], `wrong` [N] bool; items are independent.
double certify_abstention(const at::Tensor& confidence, const at::Tensor& wrong, double risk,
                          double delta);

/// Upper end of a one-sided interval for the mean of `differences` over items, each item's rows
/// averaged first (normal approximation; the variance is at least that of one item in n differing,
/// so that no difference at all still leaves room for one).
struct PairedBound {
  double mean = 0, half_width = 0;  ///< z · standard error
  int64_t items = 0;
  double upper() const { return mean + half_width; }
};
/// `differences` [N], `item` [N] int64.
PairedBound paired_bound(const at::Tensor& differences, const at::Tensor& item, double level);

}  // namespace plait::train
