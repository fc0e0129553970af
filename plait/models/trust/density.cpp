#include "plait/models/trust/density.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "plait/core/error.h"
#include "plait/core/tensor_map.h"

namespace plait::models {
namespace {

constexpr double kRidge = 1e-3;  ///< Share of the identity in covariances of unit scale
// What lies below these is rounding, and must not be blown up to unit scale: features of a stream
// that says only a few different things lie in a few dimensions.
constexpr double kLeastLeft = 1e-4;   ///< Of what is left over, share of the squared norm
constexpr double kLeastScale = 0.02;  ///< Of a component's deviation, share of the largest
constexpr int64_t kByDifference = 2;  ///< at::cdist's mode
constexpr double kLeastDistance = 1;  ///< In units where clean rows lie around √P

}  // namespace

int64_t ClassDensity::coordinate_count(int64_t width, int64_t components) {
  return std::min({components, width, int64_t{64}}) + 1;
}

ClassDensity::ClassDensity(int64_t width, int64_t components, int64_t classes, int64_t reference) {
  const int64_t p = coordinate_count(width, components) - 1;
  center_ = add_buffer("center", at::zeros({width}));
  components_ = add_buffer("components", at::zeros({width, p}));
  scale_ = add_buffer("scale", at::ones({p + 1}));
  class_means_ = add_buffer("class_means", at::zeros({classes, p + 1}));
  whitening_ = add_buffer("whitening", at::eye(p + 1));
  log_volume_ = add_buffer("log_volume", at::zeros({}));
  reference_ = add_buffer("reference", at::zeros({reference}));
  limit_ = add_buffer("limit", at::ones({}));
}

at::Tensor ClassDensity::coordinates(const at::Tensor& x) const {
  at::Tensor centred = x.to(at::kFloat) - center_;
  at::Tensor inside = at::matmul(centred, components_);
  // The root keeps the tail of the left-over norm near a Gaussian's.
  at::Tensor all = centred.square().sum(-1);
  at::Tensor left =
      at::maximum(all - inside.square().sum(-1), kLeastLeft * all).clamp_min(0).sqrt().sqrt();
  return at::cat({inside, left.unsqueeze(-1)}, -1) / scale_;
}

void ClassDensity::fit(const at::Tensor& x, const at::Tensor& target) {
  require(x.dim() == 2 && x.size(0) >= 2 && x.size(1) == center_.size(0), "trust",
          "expected at least two rows of the stream's width");
  require(x.isfinite().all().item<bool>(), "trust", "expected finite features");
  at::NoGradGuard no_grad;
  at::Tensor rows = x.detach().to(at::kCPU, at::kDouble);
  at::Tensor mean = rows.mean(0), centred = rows - mean;
  at::Tensor covariance =
      at::matmul(centred.t(), centred) / static_cast<double>(std::max<int64_t>(x.size(0) - 1, 1));
  const int64_t p = components_.size(1);
  at::Tensor vectors = std::get<1>(at::linalg_eigh(covariance));
  center_.copy_(mean);
  components_.copy_(vectors.narrow(1, vectors.size(1) - p, p));
  scale_.fill_(1);
  at::Tensor z = coordinates(x).to(at::kDouble);
  at::Tensor deviation = z.std(0);
  scale_.copy_(deviation.clamp_min(
      std::max(kLeastScale * deviation.narrow(0, 0, p).max().item<double>(), 1e-6)));
  z = coordinates(x).to(at::kDouble);

  const int64_t classes = class_means_.size(0);
  at::Tensor labels = target.to(at::kCPU, at::kLong);
  at::Tensor member = at::one_hot(labels, classes).to(at::kDouble);
  at::Tensor count = member.sum(0).unsqueeze(1);
  // A class without items gets the mean of all: it is never nearer than the others by chance.
  at::Tensor means = at::where(count > 0, at::matmul(member.t(), z) / count.clamp_min(1),
                               z.mean(0, /*keepdim=*/true));
  at::Tensor within = z - means.index_select(0, labels);
  at::Tensor shared = at::matmul(within.t(), within) /
                      static_cast<double>(std::max<int64_t>(x.size(0) - classes, 1));
  shared = shared + kRidge * at::eye(p + 1, at::kDouble);
  auto [values, axes] = at::linalg_eigh(shared);
  class_means_.copy_(means);
  values = values.clamp_min(kRidge);
  whitening_.copy_(axes / values.sqrt());
  log_volume_.fill_(0.5 * values.log().sum().item<double>() + std::log(classes));
}

at::Tensor ClassDensity::to_classes(const at::Tensor& coordinates) const {
  // Difference by difference: by products, as for long inputs otherwise, small distances are lost
  // in rounding, and a batch would answer differently from its items.
  return at::cdist(at::matmul(coordinates, whitening_), at::matmul(class_means_, whitening_), 2.0,
                   kByDifference);
}

at::Tensor ClassDensity::distance_of(const at::Tensor& coordinates) const {
  return to_classes(coordinates).amin(-1).clamp_min(kLeastDistance);
}

at::Tensor ClassDensity::log_density(const at::Tensor& coordinates) const {
  return at::logsumexp(-0.5 * to_classes(coordinates).square(), -1) - log_volume_;
}

void ClassDensity::set_reference(const at::Tensor& clean_distances, double limit) {
  require(clean_distances.numel() > 0 && limit > 0, "trust",
          "expected reference distances and a positive limit");
  at::NoGradGuard no_grad;
  at::Tensor at_quantiles = at::linspace(0, 1, reference_.size(0), at::kDouble);
  reference_.copy_(at::quantile(clean_distances.detach().to(at::kCPU, at::kDouble), at_quantiles));
  limit_.fill_(limit);
}

at::Tensor ClassDensity::p_value(const at::Tensor& distance) const {
  const auto n = static_cast<double>(reference_.size(0));
  at::Tensor below = at::searchsorted(reference_, distance.to(at::kFloat).contiguous());
  return (n - below.to(at::kFloat) + 1) / (n + 1);
}

at::Tensor ClassDensity::unusual(const at::Tensor& distance) const {
  at::Tensor median = reference_[reference_.size(0) / 2].clamp_min(1e-6);
  return (distance.clamp_min(1e-6) / median).log().clamp(-3, 3);
}

at::Tensor ClassDensity::excess(const at::Tensor& distance) const {
  return (distance.clamp_min(1e-12) / limit_).log().clamp_min(0);
}

}  // namespace plait::models
