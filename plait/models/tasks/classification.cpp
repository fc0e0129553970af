#include "plait/models/tasks/classification.h"

#include <ATen/ATen.h>

#include "plait/core/error.h"

namespace plait::models {

void Classification::Config::visit(ConfigVisitor& v) {
  v.field("width", width, "Width of the features", {.min = 1, .max = 65536});
  v.field("classes", classes, "Number of classes", {.min = 1, .max = 10000000});
  v.field("hidden", hidden, "Width of a hidden layer; 0: none", {.min = 0, .max = 65536});
  v.field("dropout", dropout, "Dropout before the last layer", {.min = 0, .max = 0.95});
  v.field("label_smoothing", label_smoothing, "Share of the target spread over all classes",
          {.min = 0, .max = 0.95});
}

Classification::Config Classification::Config::tiny() {
  Config c;
  c.width = 8;
  c.classes = 5;
  c.hidden = 6;
  c.dropout = 0;
  return c;
}

Classification::Classification(const Config& config)
    : LinearHead(config.width, config.hidden, config.dropout, config.classes), config_(config) {}

TensorMap Classification::forward(const TensorMap& inputs) {
  return {{"logits", scores(inputs, "classification")}};
}

at::Tensor Classification::loss(const TensorMap& outputs, const at::Tensor& target) const {
  const at::Tensor& logits = get(outputs, "logits", "classification");
  if (target.dim() != 1 || target.size(0) != logits.size(0)) {
    fail(ErrorCode::kInvalidArgument, "classification",
         "expected a target [B] for logits " + describe(logits) + ", got " + describe(target));
  }
  at::Tensor y = target.to(at::kLong);
  if (y.is_cpu() && y.numel() > 0 &&
      (y.max().item<int64_t>() >= logits.size(1) || y.min().item<int64_t>() < -1)) {
    fail(ErrorCode::kInvalidArgument, "classification",
         "expected classes of -1 (none) to " + std::to_string(logits.size(1) - 1) + ", got " +
             std::to_string(y.min().item<int64_t>()) + " to " +
             std::to_string(y.max().item<int64_t>()));
  }
  at::Tensor sum = at::cross_entropy_loss(logits.to(at::kFloat), y, {}, at::Reduction::Sum, -1,
                                          config_.label_smoothing);
  return sum / y.ge(0).sum().clamp_min(1);
}

}  // namespace plait::models
