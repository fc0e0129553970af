#include "plait/models/tasks/regression.h"

#include <ATen/ATen.h>

#include "plait/core/error.h"

namespace plait::models {

void Regression::Config::visit(ConfigVisitor& v) {
  v.field("width", width, "Width of the features", {.min = 1, .max = 65536});
  v.field("outputs", outputs, "Number of values", {.min = 1, .max = 1000000});
  v.field("hidden", hidden, "Width of a hidden layer; 0: none", {.min = 0, .max = 65536});
  v.field("dropout", dropout, "Dropout before the last layer", {.min = 0, .max = 0.95});
  v.field("location", location, "Of the targets; empty: 0");
  v.field("scale", scale, "Of the targets; empty: 1", {.min = 1e-12});
}

void Regression::Config::validate() const {
  require(location.size() == scale.size() &&
              (scale.empty() || static_cast<int64_t>(scale.size()) == outputs),
          "regression", "expected a location and a scale of every value, or none");
}

Regression::Config Regression::Config::tiny() {
  Config c;
  c.width = 8;
  c.outputs = 2;
  c.hidden = 6;
  c.dropout = 0;
  return c;
}

Regression::Regression(const Config& config)
    : LinearHead(config.width, config.hidden, config.dropout, 2 * config.outputs), config_(config) {
  if (config.scale.empty()) return;
  location_ = add_buffer("location", at::tensor(config.location, at::kFloat), false);
  scale_ = add_buffer("scale", at::tensor(config.scale, at::kFloat), false);
}

TensorMap Regression::forward(const TensorMap& inputs) {
  auto halves = scores(inputs, "regression").chunk(2, -1);
  at::Tensor log_variance = halves[1].clamp(-10, 10);
  if (!scale_.defined()) return {{"mean", halves[0]}, {"log_variance", log_variance}};
  return {{"mean", halves[0] * scale_ + location_},
          {"log_variance", log_variance + 2 * scale_.log()}};
}

at::Tensor Regression::loss(const TensorMap& outputs, const at::Tensor& target) const {
  at::Tensor mean = get(outputs, "mean", "regression").to(at::kFloat);
  at::Tensor log_variance = get(outputs, "log_variance", "regression").to(at::kFloat);
  at::Tensor y = target.to(at::kFloat);
  if (y.dim() == 1 && config_.outputs == 1) y = y.unsqueeze(1);
  if (y.sizes() != mean.sizes()) {
    fail(ErrorCode::kInvalidArgument, "regression",
         "expected a target " + describe(mean) + ", got " + describe(target));
  }
  at::Tensor known = at::isfinite(y);
  at::Tensor error = mean - at::where(known, y, mean.detach());
  at::Tensor term = 0.5 * (log_variance + error.square() * (-log_variance).exp());
  return at::where(known, term, at::zeros_like(term)).sum() / known.sum().clamp_min(1);
}

}  // namespace plait::models
