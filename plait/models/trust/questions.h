#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <utility>

/// Rows that answer Q questions with C options each, side by side: K = Q · C numbers. One question
/// is a classification (or one value on a grid), many are labels (two options each: no, yes) or
/// several values.
namespace plait::models {

/// Log probabilities, each question by itself, of scores [..., K].
at::Tensor log_normalise(const at::Tensor& scores, int64_t questions);
/// [..., K] → [..., Q, C]; for one question as it is.
at::Tensor each_question(const at::Tensor& x, int64_t questions);
/// Mean over the questions of [..., Q]; for one question as it is.
at::Tensor over_questions(const at::Tensor& x, int64_t questions);
/// Scores [N, K] and targets [N, Q] as rows of their own: [N · Q, C] and [N · Q]. Targets [N] (one
/// question) are left as they are.
std::pair<at::Tensor, at::Tensor> by_question(const at::Tensor& scores, const at::Tensor& target);
/// Where the targets [N] or [N, Q] stand among the K numbers: [N, Q].
at::Tensor places_of(const at::Tensor& target, int64_t options);

}  // namespace plait::models
