#pragma once
#include <cstdint>
#include <random>
#include <span>

/// Steps between a model's scores and the choice of a token, each as transformers' processor of
/// that name. Scores of forbidden tokens become -infinity.
namespace plait::runtime {

/// Keskar et al. 2019, https://arxiv.org/abs/1909.05858: scores of tokens in `ids` are divided
/// (positive) or multiplied (negative) by the penalty, once each. Ids beyond the scores are
/// ignored.
void penalize_repetition(std::span<float> scores, std::span<const int64_t> ids, double penalty);
/// Forbids what would complete a run of `size` tokens that `ids` holds already.
void forbid_repeated_ngrams(std::span<float> scores, std::span<const int64_t> ids, int64_t size);
void forbid(std::span<float> scores, std::span<const int64_t> tokens);
void apply_temperature(std::span<float> scores, double temperature);
/// Keeps the k best, and what ties with the last of them.
void keep_top_k(std::span<float> scores, int64_t k);
/// Nucleus sampling (Holtzman et al. 2020, https://arxiv.org/abs/1904.09751).
void keep_top_p(std::span<float> scores, double p);
/// Nguyen et al. 2024, https://arxiv.org/abs/2407.01082.
void keep_min_p(std::span<float> scores, double p);

/// Index of the best score, the first of equals. @throws Error kInvalidArgument when all scores are
/// -infinity or one is NaN.
int64_t best_of(std::span<const float> scores);
/// Draws an index from the softmax of the scores.
int64_t draw_from(std::span<const float> scores, std::mt19937_64& generator);
/// log Σ exp(score).
double log_sum_exp(std::span<const float> scores);

}  // namespace plait::runtime
