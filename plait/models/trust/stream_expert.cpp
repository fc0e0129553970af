#include "plait/models/trust/stream_expert.h"

#include <ATen/ATen.h>

#include "plait/core/error.h"
#include "plait/models/trust/questions.h"

namespace plait::models {
namespace {

constexpr int64_t kCoarse = 5;  ///< Ranges of a value by which a density is conditioned

int64_t density_classes(const StreamExpert::Shape& shape) {
  if (shape.questions > 1 || shape.candidates) return 1;
  return shape.grid ? kCoarse : shape.classes;
}

}  // namespace

StreamExpert::StreamExpert(const Shape& shape)
    : questions_(shape.questions),
      classes_(shape.classes),
      told_(shape.told),
      grid_(shape.grid),
      candidates_(shape.candidates) {
  const int64_t numbers = grid_ ? 2 * questions_ : questions_ * classes_;
  scale_ = add<FeatureScale>("scale", shape.width);
  temperature_ = add_buffer("temperature", at::ones({}));
  dropout_ = add<Dropout>("dropout", shape.dropout);
  if (!candidates_) {
    if (shape.hidden > 0) hidden_ = add<Linear>("hidden", shape.width, shape.hidden);
    output_ = add<Linear>("output", shape.hidden > 0 ? shape.hidden : shape.width, numbers);
  }
  density_ = add<ClassDensity>("density", shape.width, shape.components, density_classes(shape));
  if (shape.landmarks == 0) return;
  share_ = add_buffer("share", at::full({}, 0.5));
  if (grid_) {
    radial_variance_ = add_buffer("radial_variance", at::ones({questions_}));
    nearness_ = add_buffer("nearness", at::ones({}));
    radial_ = add<RadialRegression>("radial", shape.width, questions_ + told_, shape.landmarks);
    return;
  }
  const int64_t outputs = candidates_ ? 0 : questions_ * classes_;
  radial_temperature_ = add_buffer("radial_temperature", at::ones({}));
  frequency_ = add_buffer("frequency", at::full({outputs}, 1.0 / static_cast<double>(classes_)));
  radial_ = add<RadialRegression>("radial", shape.width, outputs + told_, shape.landmarks);
}

void StreamExpert::fit_scale(const at::Tensor& x) { scale_->fit(x); }

at::Tensor StreamExpert::standardise(const at::Tensor& x) const { return (*scale_)(x); }

at::Tensor StreamExpert::bounded(const at::Tensor& x) const { return scale_->bounded(x); }

at::Tensor StreamExpert::network(const at::Tensor& x) const {
  if (candidates_) return at::empty({x.size(0), 0});
  at::Tensor h = (*dropout_)(scale_->bounded(x));
  if (hidden_) h = (*dropout_)(at::gelu((*hidden_)(h)));
  h = (*output_)(h);
  return grid_ ? grid_->gaussian(h.narrow(1, 0, questions_), h.narrow(1, questions_, questions_))
               : h;
}

at::Tensor StreamExpert::radial_logits(const at::Tensor& scores) const {
  return frequency_.log() + (scores - frequency_) / radial_temperature_;
}

at::Tensor StreamExpert::radial_densities(const at::Tensor& mean,
                                          const at::Tensor& nearness) const {
  at::Tensor near = (nearness / nearness_).clamp_max(1).unsqueeze(1);
  return grid_->gaussian(mean, at::lerp(at::ones_like(mean), radial_variance_, near).log());
}

at::Tensor StreamExpert::aims_of(const at::Tensor& target) const {
  if (grid_) return grid_->middles_of(target);
  if (candidates_) return target;
  at::Tensor member = at::one_hot(target, classes_);
  return target.dim() == 1 ? member : member.flatten(1);
}

at::Tensor StreamExpert::density_target(const at::Tensor& target) const {
  if (target.dim() == 2 || candidates_) return at::zeros({target.size(0)}, at::kLong);
  return grid_ ? at::floor_divide(target * kCoarse, classes_) : target;
}

StreamExpert::Says StreamExpert::says(const at::Tensor& x) const {
  Says out;
  out.network = network(x);
  if (radial_) {
    at::Tensor bounded = scale_->bounded(x), both = (*radial_)(bounded);
    const int64_t own = both.size(1) - told_;
    out.radial = grid_ ? radial_densities(both.narrow(1, 0, own), radial_->nearness(bounded))
                       : radial_logits(both.narrow(1, 0, own));
    out.told = both.narrow(1, own, told_);
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
  at::Tensor bounded = scale_->bounded(x);
  if (candidates_) return radial_->fit(bounded, told.to(at::kFloat), shape, seed);
  at::Tensor aims = aims_of(target).to(at::kFloat);
  const int64_t own = aims.size(1);
  if (!grid_) {
    // One item more of every class: a class that is absent here must stay possible.
    frequency_.copy_((aims.sum(0) + 1) / static_cast<double>(x.size(0) + classes_));
  }
  at::Tensor left = radial_->fit(bounded, at::cat({aims, told.to(at::kFloat)}, 1), shape, seed);
  at::Tensor scores = left.narrow(1, 0, own);
  if (grid_) {
    radial_variance_.copy_((scores - aims).square().mean(0).clamp_min(1e-4));
    nearness_.copy_(radial_->nearness(bounded, /*but_self=*/true).median().clamp_min(1e-6));
  } else {
    radial_temperature_.fill_(1);
    radial_temperature_.fill_(temperature(radial_logits(scores) - frequency_.log()));
  }
  return left.narrow(1, own, told_);
}

RadialRegression::Shape StreamExpert::choose_radial(
    const at::Tensor& x, const at::Tensor& target,
    const std::function<double(const at::Tensor& scores)>& loss) const {
  at::Tensor aims = aims_of(target);
  if (!grid_) return choose_radial_shape(scale_->bounded(x), aims, loss);
  return choose_radial_shape(scale_->bounded(x), aims, [&](const at::Tensor& left) {
    at::Tensor variance = (left - aims).square().mean(0).clamp_min(1e-4);
    return loss(grid_->gaussian(left, variance.log().expand_as(left)));
  });
}

double StreamExpert::temperature() const { return temperature_.item<double>(); }
void StreamExpert::set_temperature(double value) { temperature_.fill_(value); }
double StreamExpert::share() const { return radial_ ? share_.item<double>() : 1; }

void StreamExpert::set_share(double value) {
  require(radial_ != nullptr && value >= 0 && value <= 1, "trust", "expected a share in [0, 1]");
  share_.fill_(value);
}

}  // namespace plait::models
