#pragma once
#include <ATen/core/Tensor.h>

#include <memory>

#include "plait/models/layers/layers.h"
#include "plait/models/trust/density.h"
#include "plait/models/trust/feature_scale.h"

namespace plait::models {

/// One stream's own classifier on frozen features: standardise → (dropout, linear, GELU) → dropout,
/// linear, with the temperature that calibrates it and the density of its features.
class StreamExpert : public Module {
 public:
  /// `hidden` 0: a linear classifier.
  StreamExpert(int64_t width, int64_t classes, int64_t hidden, double dropout, int64_t components);

  /// Takes mean and deviation of the columns of x [N, D].
  void fit_scale(const at::Tensor& x);
  at::Tensor standardise(const at::Tensor& x) const;
  /// [B, D] raw features → logits [B, K], not tempered.
  at::Tensor logits(const at::Tensor& x) const;
  double temperature() const;
  void set_temperature(double value);
  ClassDensity& density() { return *density_; }
  const ClassDensity& density() const { return *density_; }

 private:
  at::Tensor temperature_;
  std::shared_ptr<FeatureScale> scale_;
  std::shared_ptr<Dropout> dropout_;
  std::shared_ptr<Linear> hidden_, output_;
  std::shared_ptr<ClassDensity> density_;
};

}  // namespace plait::models
