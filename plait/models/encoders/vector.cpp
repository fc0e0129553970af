#include "plait/models/encoders/vector.h"

#include <ATen/ATen.h>

#include <limits>

#include "plait/core/error.h"

namespace plait::models {

void Vector::Config::visit(ConfigVisitor& v) {
  v.field("features", features, "Numbers of a row", {.min = 1, .max = 1 << 20});
}

Vector::Config Vector::Config::tiny() {
  Config c;
  c.features = 5;
  return c;
}

Vector::Vector(const Config& config) : config_(config) {
  mean_ = add_buffer("mean", at::zeros({config.features}));
  deviation_ = add_buffer("deviation", at::ones({config.features}));
}

EncoderOutput Vector::encode(const TensorMap& inputs) {
  const at::Tensor& x = get(inputs, "values", "vector");
  if (x.dim() != 2 || x.size(0) == 0 || x.size(1) != config_.features || !x.is_floating_point()) {
    fail(ErrorCode::kInvalidArgument, "vector",
         "expected values [B, " + std::to_string(config_.features) +
             "] of a floating-point type, got " + describe(x));
  }
  if (x.is_cpu() && at::isinf(x).any().item<bool>()) {
    fail(ErrorCode::kInvalidArgument, "vector",
         "expected finite values (NaN: missing), got infinity");
  }
  // Raw numbers far from zero lose their differences in half precision.
  at::Tensor standard = (x.to(at::kFloat) - mean_.to(at::kFloat)) / deviation_.to(at::kFloat);
  standard = at::where(at::isnan(x), at::zeros_like(standard), standard);
  standard = standard.to(mean_.scalar_type());
  return {.tokens = standard.unsqueeze(1), .mask = {}, .pooled = standard};
}

TensorMap Vector::fit(const at::Tensor& rows) {
  if (!rows.defined() || rows.dim() != 2 || rows.numel() == 0 || !rows.is_floating_point()) {
    fail(ErrorCode::kInvalidArgument, "vector",
         "expected rows [N, D] of a floating-point type, got " +
             (rows.defined() ? describe(rows) : std::string("an undefined tensor")));
  }
  if (at::isinf(rows).any().item<bool>()) {
    fail(ErrorCode::kInvalidArgument, "vector", "expected finite rows (NaN: missing)");
  }
  at::Tensor x = rows.detach().to(at::kDouble);
  at::Tensor there = at::isnan(x).logical_not();
  at::Tensor count = there.sum(0).clamp_min(1).to(at::kDouble);
  at::Tensor mean = at::where(there, x, at::zeros_like(x)).sum(0) / count;
  at::Tensor centred = at::where(there, x - mean, at::zeros_like(x));
  at::Tensor deviation = (centred.square().sum(0) / count).sqrt();
  // Rounding leaves columns of one value with a deviation that is not quite 0.
  at::Tensor least = mean.abs() * count * std::numeric_limits<double>::epsilon();
  deviation = at::where(deviation.gt(least), deviation, at::ones_like(deviation));
  return {{"mean", mean.to(at::kFloat)}, {"deviation", deviation.to(at::kFloat)}};
}

bool Vector::fitted() const {
  return !(mean_.eq(0).all().item<bool>() && deviation_.eq(1).all().item<bool>());
}

}  // namespace plait::models
