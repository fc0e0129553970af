#include "plait/models/trust/stream_expert.h"

#include <ATen/ATen.h>

namespace plait::models {

StreamExpert::StreamExpert(int64_t width, int64_t classes, int64_t hidden, double dropout,
                           int64_t components) {
  scale_ = add<FeatureScale>("scale", width);
  temperature_ = add_buffer("temperature", at::ones({}));
  dropout_ = add<Dropout>("dropout", dropout);
  if (hidden > 0) hidden_ = add<Linear>("hidden", width, hidden);
  output_ = add<Linear>("output", hidden > 0 ? hidden : width, classes);
  density_ = add<ClassDensity>("density", width, components, classes);
}

void StreamExpert::fit_scale(const at::Tensor& x) { scale_->fit(x); }

at::Tensor StreamExpert::standardise(const at::Tensor& x) const { return (*scale_)(x); }

at::Tensor StreamExpert::logits(const at::Tensor& x) const {
  at::Tensor h = (*dropout_)(scale_->bounded(x));
  if (hidden_) h = (*dropout_)(at::gelu((*hidden_)(h)));
  return (*output_)(h);
}

double StreamExpert::temperature() const { return temperature_.item<double>(); }
void StreamExpert::set_temperature(double value) { temperature_.fill_(value); }

}  // namespace plait::models
