#include "plait/models/trust/feature_scale.h"

#include <ATen/ATen.h>

#include "plait/core/error.h"
#include "plait/core/tensor_map.h"

namespace plait::models {

FeatureScale::FeatureScale(int64_t width) {
  mean_ = add_buffer("mean", at::zeros({width}));
  deviation_ = add_buffer("deviation", at::ones({width}));
}

void FeatureScale::fit(const at::Tensor& x) {
  at::NoGradGuard no_grad;
  at::Tensor rows = x.to(at::kDouble);
  mean_.copy_(rows.mean(0));
  at::Tensor deviation = rows.std(0, /*unbiased=*/false);
  // A column that never changes says nothing; a deviation near 0 would blow up its rounding.
  deviation_.copy_(
      at::where(deviation > 1e-6 * (1 + rows.abs().amax(0)), deviation, at::ones_like(deviation)));
}

at::Tensor FeatureScale::operator()(const at::Tensor& x) const {
  if (x.dim() != 2 || x.size(1) != mean_.size(0)) {
    fail(ErrorCode::kInvalidArgument, "trust",
         "expected features [B, " + std::to_string(mean_.size(0)) + "], got " + describe(x));
  }
  return (x.to(at::kFloat) - mean_) / deviation_;
}

at::Tensor FeatureScale::bounded(const at::Tensor& x) const { return (*this)(x).clamp(-100, 100); }

at::Tensor where_present(const at::Tensor& x, const at::Tensor& present, size_t stream) {
  at::Tensor here = present.select(1, static_cast<int64_t>(stream)).unsqueeze(1);
  return at::where(here, x.to(at::kFloat), at::zeros({}, at::kFloat));
}

}  // namespace plait::models
