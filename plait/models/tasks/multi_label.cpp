#include "plait/models/tasks/multi_label.h"

#include <ATen/ATen.h>

#include "plait/core/error.h"

namespace plait::models {

void MultiLabel::Config::visit(ConfigVisitor& v) {
  v.field("width", width, "Width of the features", {.min = 1, .max = 65536});
  v.field("classes", classes, "Number of labels", {.min = 1, .max = 100000});
  v.field("hidden", hidden, "Width of a hidden layer; 0: none", {.min = 0, .max = 65536});
  v.field("dropout", dropout, "Dropout before the last layer", {.min = 0, .max = 0.95});
}

MultiLabel::Config MultiLabel::Config::tiny() {
  Config c;
  c.width = 8;
  c.classes = 4;
  c.hidden = 6;
  c.dropout = 0;
  return c;
}

MultiLabel::MultiLabel(const Config& config)
    : LinearHead(config.width, config.hidden, config.dropout, config.classes), config_(config) {}

TensorMap MultiLabel::forward(const TensorMap& inputs) {
  return {{"label_logits", scores(inputs, "multi_label")}};
}

at::Tensor MultiLabel::loss(const TensorMap& outputs, const at::Tensor& target) const {
  at::Tensor logits = get(outputs, "label_logits", "multi_label").to(at::kFloat);
  at::Tensor y = target.to(at::kFloat);
  if (y.sizes() != logits.sizes()) {
    fail(ErrorCode::kInvalidArgument, "multi_label",
         "expected a target " + describe(logits) + ", got " + describe(target));
  }
  at::Tensor known = y >= 0;
  if ((at::logical_and(known, y != 0).logical_and(y != 1)).any().item<bool>())
    fail(ErrorCode::kInvalidArgument, "multi_label", "expected targets of 0, 1 and -1 (unknown)");
  at::Tensor term =
      at::binary_cross_entropy_with_logits(logits, y.clamp_min(0), {}, {}, at::Reduction::None);
  return at::where(known, term, at::zeros_like(term)).sum() / known.sum().clamp_min(1);
}

}  // namespace plait::models
