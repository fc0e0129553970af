#include "plait/models/segmentation/segmenter.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "plait/core/error.h"

namespace plait::models {
namespace {

constexpr const char* kUnit = "segmentation";
constexpr double kSmooth = 1e-5;

}  // namespace

at::Tensor Segmenter::segment(const TensorMap& inputs) {
  at::NoGradGuard no_grad;
  return forward(inputs).at("logits").argmax(1);
}

at::Tensor segmentation_loss(const at::Tensor& given, const at::Tensor& target,
                             double dice_weight) {
  bool fits = given.dim() >= 3 && target.dim() == given.dim() - 1 &&
              given.size(0) == target.size(0) && given.size(0) > 0 &&
              given.sizes().slice(2) == target.sizes().slice(1) &&
              at::isIntegralType(target.scalar_type(), /*includeBool=*/false);
  if (!fits) {
    fail(ErrorCode::kInvalidArgument, kUnit,
         "expected logits [B, K, ...] and integer targets [B, ...], got " + describe(given) +
             " and " + describe(target));
  }
  const int64_t classes = given.size(1);
  at::Tensor logits = given.to(at::kFloat).flatten(2), truth = target.to(at::kLong).flatten(1);
  if (truth.is_cpu() && truth.numel() > 0) {
    require(truth.min().item<int64_t>() >= -1 && truth.max().item<int64_t>() < classes, kUnit,
            "expected target classes from 0 below the number of classes, or -1 where unknown");
  }
  at::Tensor known = truth >= 0;
  at::Tensor count = known.sum().clamp_min(1);
  at::Tensor entropy = at::cross_entropy_loss(logits, truth, {}, at::Reduction::Sum, -1) / count;
  if (dice_weight == 0) return entropy;
  at::Tensor weight = known.unsqueeze(1).to(at::kFloat);
  at::Tensor p = at::softmax(logits, 1) * weight;
  at::Tensor t = at::one_hot(truth.clamp_min(0), classes).transpose(1, 2).to(at::kFloat) * weight;
  at::Tensor shared = (p * t).sum(2), both = p.sum(2) + t.sum(2);
  at::Tensor dice = 1 - (2 * shared + kSmooth) / (both + kSmooth);
  return entropy + dice_weight * dice.mean();
}

}  // namespace plait::models
