#include "plait/models/trust/questions.h"

#include <ATen/ATen.h>

#include "plait/core/error.h"

namespace plait::models {

at::Tensor log_normalise(const at::Tensor& scores, int64_t questions) {
  if (questions == 1) return at::log_softmax(scores, -1);
  return at::log_softmax(each_question(scores, questions), -1).flatten(-2);
}

at::Tensor each_question(const at::Tensor& x, int64_t questions) {
  return questions == 1 ? x : x.unflatten(-1, {questions, x.size(-1) / questions});
}

at::Tensor over_questions(const at::Tensor& x, int64_t questions) {
  return questions == 1 ? x : x.mean(-1);
}

std::pair<at::Tensor, at::Tensor> by_question(const at::Tensor& scores, const at::Tensor& target) {
  if (target.dim() == 1) return {scores, target};
  require(
      target.dim() == 2 && scores.size(0) == target.size(0) && scores.size(1) % target.size(1) == 0,
      "trust", "expected scores and targets of the same items and questions");
  return {scores.reshape({target.numel(), scores.size(1) / target.size(1)}),
          target.reshape({target.numel()})};
}

at::Tensor places_of(const at::Tensor& target, int64_t options) {
  if (target.dim() == 1) return target.unsqueeze(1);
  return target + at::arange(target.size(1), target.options()) * options;
}

}  // namespace plait::models
