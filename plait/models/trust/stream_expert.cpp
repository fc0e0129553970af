#include "plait/models/trust/stream_expert.h"

#include <ATen/ATen.h>

#include "plait/core/error.h"

namespace plait::models {

StreamExpert::StreamExpert(const Shape& shape) : classes_(shape.classes), told_(shape.told) {
  scale_ = add<FeatureScale>("scale", shape.width);
  temperature_ = add_buffer("temperature", at::ones({}));
  dropout_ = add<Dropout>("dropout", shape.dropout);
  if (shape.hidden > 0) hidden_ = add<Linear>("hidden", shape.width, shape.hidden);
  output_ = add<Linear>("output", shape.hidden > 0 ? shape.hidden : shape.width, classes_);
  density_ = add<ClassDensity>("density", shape.width, shape.components, classes_);
  if (shape.landmarks == 0) return;
  share_ = add_buffer("share", at::full({}, 0.5));
  radial_temperature_ = add_buffer("radial_temperature", at::ones({}));
  frequency_ = add_buffer("frequency", at::full({classes_}, 1.0 / static_cast<double>(classes_)));
  radial_ = add<RadialRegression>("radial", shape.width, classes_ + told_, shape.landmarks);
}

void StreamExpert::fit_scale(const at::Tensor& x) { scale_->fit(x); }

at::Tensor StreamExpert::standardise(const at::Tensor& x) const { return (*scale_)(x); }

at::Tensor StreamExpert::network(const at::Tensor& x) const {
  at::Tensor h = (*dropout_)(scale_->bounded(x));
  if (hidden_) h = (*dropout_)(at::gelu((*hidden_)(h)));
  return (*output_)(h);
}

at::Tensor StreamExpert::radial_logits(const at::Tensor& scores) const {
  return frequency_.log() + (scores - frequency_) / radial_temperature_;
}

StreamExpert::Says StreamExpert::says(const at::Tensor& x) const {
  Says out;
  out.network = network(x);
  if (radial_) {
    at::Tensor both = (*radial_)(scale_->bounded(x));
    out.radial = radial_logits(both.narrow(1, 0, classes_));
    out.told = both.narrow(1, classes_, told_);
  } else {
    out.radial = out.network;
    out.told = at::zeros({x.size(0), told_});
  }
  return out;
}

at::Tensor StreamExpert::mix(const Says& says) const {
  return radial_ ? at::lerp(says.radial, says.network, share_) : says.network;
}

at::Tensor StreamExpert::fit_radial(
    const at::Tensor& x, const at::Tensor& target, const at::Tensor& told,
    const RadialRegression::Shape& shape, uint64_t seed,
    const std::function<double(const at::Tensor& logits)>& temperature) {
  at::NoGradGuard no_grad;
  at::Tensor member = at::one_hot(target, classes_).to(at::kFloat);
  // One item more of every class: a class that is absent here must stay possible.
  frequency_.copy_((member.sum(0) + 1) / static_cast<double>(x.size(0) + classes_));
  at::Tensor left =
      radial_->fit(scale_->bounded(x), at::cat({member, told.to(at::kFloat)}, 1), shape, seed);
  radial_temperature_.fill_(1);
  at::Tensor scores = left.narrow(1, 0, classes_);
  radial_temperature_.fill_(temperature(radial_logits(scores) - frequency_.log()));
  return left.narrow(1, classes_, told_);
}

RadialRegression::Shape StreamExpert::choose_radial(
    const at::Tensor& x, const at::Tensor& target,
    const std::function<double(const at::Tensor& scores)>& loss) const {
  return choose_radial_shape(scale_->bounded(x), at::one_hot(target, classes_), loss);
}

double StreamExpert::temperature() const { return temperature_.item<double>(); }
void StreamExpert::set_temperature(double value) { temperature_.fill_(value); }
double StreamExpert::share() const { return radial_ ? share_.item<double>() : 1; }

void StreamExpert::set_share(double value) {
  require(radial_ != nullptr && value >= 0 && value <= 1, "trust", "expected a share in [0, 1]");
  share_.fill_(value);
}

}  // namespace plait::models
