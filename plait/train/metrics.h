#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "plait/core/json.h"

/// Figures of merit, computed in double on the CPU. N items, K classes. `probabilities` [N, K] has
/// rows that sum to 1; `scores` [N, K] may be logits too. `target` [N] int64; items with target < 0
/// do not count. All throw Error kInvalidArgument for shapes that do not match, values that are not
/// finite, or no counted item.
namespace plait::train {

// --- Classification
// ---------------------------------------------------------------------------------------------------
double accuracy(const at::Tensor& scores, const at::Tensor& target);
/// Share of items whose class is among the k highest scores (the lower class index wins a tie).
double top_k_accuracy(const at::Tensor& scores, const at::Tensor& target, int64_t k);
/// Mean F1 over the classes that occur in the target or the prediction, as
/// sklearn.metrics.f1_score(average="macro").
double macro_f1(const at::Tensor& scores, const at::Tensor& target);
/// [K, K] int64, row = target, column = prediction.
at::Tensor confusion_matrix(const at::Tensor& scores, const at::Tensor& target);

// --- Confidence
// -------------------------------------------------------------------------------------------------------
/// Mean −ln p(target), p clipped from below at 1e-12.
double negative_log_likelihood(const at::Tensor& probabilities, const at::Tensor& target);
/// Mean Σ_k (p_k − [k = target])²; from 0 to 2.
double brier_score(const at::Tensor& probabilities, const at::Tensor& target);
/// One bin (lower, upper] of top-class confidence.
struct ReliabilityBin {
  double lower = 0, upper = 0;
  int64_t count = 0;
  double confidence = 0;  ///< Mean confidence; 0 when the bin is empty.
  double accuracy = 0;
};
std::vector<ReliabilityBin> reliability_bins(const at::Tensor& probabilities,
                                             const at::Tensor& target, int64_t bins = 15);
Json to_json(const std::vector<ReliabilityBin>& bins);
/// Expected calibration error over equal-width bins (Guo et al. 2017,
/// https://arxiv.org/abs/1706.04599).
double expected_calibration_error(const at::Tensor& probabilities, const at::Tensor& target,
                                  int64_t bins = 15);
/// What it is in the mean over `draws` for answers of the same confidences that are right exactly
/// as often as they say: with few items even a calibrated model has one.
double calibration_error_by_chance(const at::Tensor& probabilities, uint64_t seed,
                                   int64_t draws = 20, int64_t bins = 15);
/// Area under the risk–coverage curve: mean over n of the error rate among the n most confident
/// items; items of equal confidence share their mean error. (Geifman & El-Yaniv 2017,
/// https://arxiv.org/abs/1705.08500.)
double aurc(const at::Tensor& probabilities, const at::Tensor& target);
/// Error rate among the most confident ⌈coverage · N⌉ items.
double selective_risk(const at::Tensor& probabilities, const at::Tensor& target, double coverage);

/// All of the above by name: accuracy, top_5_accuracy (K > 5), macro_f1, nll, brier, ece, aurc, n.
std::map<std::string, double> classification_metrics(const at::Tensor& probabilities,
                                                     const at::Tensor& target);

// --- Ranking
// ----------------------------------------------------------------------------------------------------------
/// Area under the ROC curve of `score` [N] for `positive` [N] (non-zero = positive); ties count one
/// half.
double auroc(const at::Tensor& score, const at::Tensor& positive);
/// Rank correlation with mean ranks for ties; 0 when either side is constant.
double spearman(const at::Tensor& a, const at::Tensor& b);
/// Share of queries whose right gallery item is among the k most similar. `similarity` [Q, G],
/// `target` [Q] int64. A gallery item as similar as the right one counts as ahead of it.
double recall_at_k(const at::Tensor& similarity, const at::Tensor& target, int64_t k);
/// Mean of 1 / rank of the right gallery item; the same rule for ties.
double mean_reciprocal_rank(const at::Tensor& similarity, const at::Tensor& target);
/// recall@1, recall@5, recall@10, mrr, n.
std::map<std::string, double> retrieval_metrics(const at::Tensor& similarity,
                                                const at::Tensor& target);

// --- Labels
// ----------------------------------------------------------------------------------------------------------
/// Of any number of labels at once, `probabilities` [N, L] of each, `target` [N, L] of 0 and 1
/// (items with a negative one do not count), given from one half on: micro_f1 (1 when there is none
/// and none is given), exact_match (all labels right), accuracy (of single labels), brier (mean
/// over labels, 0 to 1), n.
std::map<std::string, double> multi_label_metrics(const at::Tensor& probabilities,
                                                  const at::Tensor& target);

// --- Regression: any equal shapes; entries whose target is NaN do not count
// ------------------------------------------
double mean_squared_error(const at::Tensor& prediction, const at::Tensor& target);
double mean_absolute_error(const at::Tensor& prediction, const at::Tensor& target);
/// 1 − residual / total sum of squares; for a constant target 1 when exact, else 0.
double r2_score(const at::Tensor& prediction, const at::Tensor& target);
/// mse, rmse, mae, r2, n.
std::map<std::string, double> regression_metrics(const at::Tensor& prediction,
                                                 const at::Tensor& target);

}  // namespace plait::train
