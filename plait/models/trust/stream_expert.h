#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>

#include "plait/models/layers/layers.h"
#include "plait/models/trust/density.h"
#include "plait/models/trust/feature_scale.h"
#include "plait/models/trust/radial_regression.h"
#include "plait/models/trust/value_grid.h"

namespace plait::models {

/// One stream's own classifier on frozen features, the mean of two that err differently:
///
///   logits = r · network(x) + (1 − r) · [log π + (f(x) − π) / t]
///
/// a network (standardise → dropout, linear, GELU → dropout, linear), and a regression on radial
/// basis functions whose targets are the classes, one-hot, and the density coordinates of every
/// stream: what this one tells of the others (see CrossConsistency). With the temperature that
/// calibrates them and the density of the stream's features.
///
/// Of labels (`questions` of two classes each) every one is such a question. Of values (`grid`)
/// both parts give Gaussians, evaluated on the grid's bins: the network mean and variance, the
/// regression a mean whose variance is that of its left-one-out errors near training items and
/// rises to that of all targets far from them.
class StreamExpert : public Module {
 public:
  struct Shape {
    int64_t width = 0, classes = 0;
    int64_t hidden = 0;  ///< 0: a linear network
    double dropout = 0;
    int64_t components = 1;  ///< Of the density
    int64_t landmarks = 0;   ///< Of the radial basis functions; 0: the network alone
    int64_t told = 0;        ///< Coordinates of all streams
    int64_t questions = 1;   ///< Of `classes` options each
    std::shared_ptr<const ValueGrid> grid = nullptr;  ///< Of values: its bins are the classes
    bool candidates = false;  ///< No classifier: scores of candidates come from elsewhere
  };
  explicit StreamExpert(const Shape& shape);

  /// Takes mean and deviation of the columns of x [N, D].
  void fit_scale(const at::Tensor& x);
  at::Tensor standardise(const at::Tensor& x) const;
  /// The same within ±100, as the classifiers take it.
  at::Tensor bounded(const at::Tensor& x) const;
  /// What both classifiers say of raw features [B, D].
  struct Says {
    at::Tensor network, radial;  ///< Logits [B, K], not tempered; without landmarks both are one;
                                 ///< K is questions · classes
    at::Tensor told;             ///< [B, told] coordinates of every stream; 0 without landmarks
  };
  Says says(const at::Tensor& x) const;
  /// The network's part of `says`, differentiable.
  at::Tensor network(const at::Tensor& x) const;
  at::Tensor mix(const Says& says) const;
  /// Fits the regression to raw features [N, D], targets [N] or [N, Q] and the coordinates of every
  /// stream [N, told]; `temperature` finds t for what each row is told by all others.
  /// @return [N, told]: the coordinates that each row is told by all others.
  at::Tensor fit_radial(const at::Tensor& x, const at::Tensor& target, const at::Tensor& told,
                        const RadialRegression::Shape& shape, uint64_t seed,
                        const std::function<double(const at::Tensor& logits)>& temperature);
  /// The kernel and ridge whose left-one-out scores [N, K] `loss` likes best; without a classifier
  /// those of any targets [N, T].
  RadialRegression::Shape choose_radial(
      const at::Tensor& x, const at::Tensor& target,
      const std::function<double(const at::Tensor& scores)>& loss) const;
  /// The classes by which the density of the features is conditioned, of targets [N] or [N, Q].
  at::Tensor density_target(const at::Tensor& target) const;
  bool has_radial() const { return radial_ != nullptr; }
  /// [B, D] raw features → logits [B, K], not tempered.
  at::Tensor logits(const at::Tensor& x) const { return mix(says(x)); }
  double temperature() const;
  void set_temperature(double value);
  /// Share of the network, in [0, 1].
  void set_share(double value);
  double share() const;
  ClassDensity& density() { return *density_; }
  const ClassDensity& density() const { return *density_; }

 private:
  at::Tensor radial_logits(const at::Tensor& scores) const;
  at::Tensor radial_densities(const at::Tensor& mean, const at::Tensor& nearness) const;
  /// What the regression aims at: [N, K] classes, one-hot, or [N, Q] standardised values.
  at::Tensor aims_of(const at::Tensor& target) const;

  int64_t questions_, classes_, told_;
  std::shared_ptr<const ValueGrid> grid_;
  bool candidates_;
  at::Tensor temperature_, share_, radial_temperature_, frequency_;
  at::Tensor radial_variance_, nearness_;  ///< Of values
  std::shared_ptr<FeatureScale> scale_;
  std::shared_ptr<Dropout> dropout_;
  std::shared_ptr<Linear> hidden_, output_;
  std::shared_ptr<RadialRegression> radial_;
  std::shared_ptr<ClassDensity> density_;
};

}  // namespace plait::models
