#include "plait/models/trust/stream_expert.h"

#include <ATen/ATen.h>

#include "plait/core/error.h"
#include "plait/core/tensor_map.h"

namespace plait::models {

StreamExpert::StreamExpert(int64_t width, int64_t classes, int64_t hidden, double dropout,
                           int64_t components) {
  mean_ = add_buffer("mean", at::zeros({width}));
  deviation_ = add_buffer("deviation", at::ones({width}));
  temperature_ = add_buffer("temperature", at::ones({}));
  dropout_ = add<Dropout>("dropout", dropout);
  if (hidden > 0) hidden_ = add<Linear>("hidden", width, hidden);
  output_ = add<Linear>("output", hidden > 0 ? hidden : width, classes);
  density_ = add<ClassDensity>("density", width, components, classes);
}

void StreamExpert::fit_scale(const at::Tensor& x) {
  at::NoGradGuard no_grad;
  at::Tensor rows = x.to(at::kDouble);
  mean_.copy_(rows.mean(0));
  at::Tensor deviation = rows.std(0, /*unbiased=*/false);
  // A column that never changes says nothing; a deviation near 0 would blow up its rounding.
  deviation_.copy_(
      at::where(deviation > 1e-6 * (1 + rows.abs().amax(0)), deviation, at::ones_like(deviation)));
}

at::Tensor StreamExpert::standardise(const at::Tensor& x) const {
  if (x.dim() != 2 || x.size(1) != mean_.size(0)) {
    fail(ErrorCode::kInvalidArgument, "trust",
         "expected features [B, " + std::to_string(mean_.size(0)) + "], got " + describe(x));
  }
  return (x.to(at::kFloat) - mean_) / deviation_;
}

at::Tensor StreamExpert::logits(const at::Tensor& x) const {
  // A value a hundred deviations away is broken; unbounded it would drown all others.
  at::Tensor h = (*dropout_)(standardise(x).clamp(-100, 100));
  if (hidden_) h = (*dropout_)(at::gelu((*hidden_)(h)));
  return (*output_)(h);
}

double StreamExpert::temperature() const { return temperature_.item<double>(); }
void StreamExpert::set_temperature(double value) { temperature_.fill_(value); }

}  // namespace plait::models
