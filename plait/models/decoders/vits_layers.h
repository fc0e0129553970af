#pragma once
#include <memory>
#include <vector>

#include "plait/models/decoders/vits.h"

/// The parts of VITS; not for other headers. Masks are [B, 1, T] in the numbers' dtype.
namespace plait::models {

class VitsTextLayer;
class VitsCoupling;

struct VitsPrior {
  at::Tensor hidden;         ///< [B, hidden, T]
  at::Tensor mean, log_std;  ///< [B, flow_size, T]
};

/// Symbols → hidden states and the prior of their frames.
class VitsTextEncoder : public Module {
 public:
  explicit VitsTextEncoder(const Vits::Config& config);
  VitsPrior operator()(const at::Tensor& ids, const at::Tensor& mask) const;
  at::ScalarType dtype() const { return embed_->weight.scalar_type(); }

 private:
  double scale_;
  std::shared_ptr<Embedding> embed_;
  std::shared_ptr<ModuleList<VitsTextLayer>> layers_;
  std::shared_ptr<Conv> project_;
};

/// hidden [B, hidden, T] → the logarithm of each symbol's frames [B, 1, T].
class VitsDurations : public Module {
 public:
  /// noise [B, 2, T] is used by the stochastic predictor alone.
  virtual at::Tensor predict(const at::Tensor& hidden, const at::Tensor& mask,
                             const at::Tensor& speaker, const at::Tensor& noise) const = 0;
};
/// The stochastic predictor (splines run backwards), or the plain one, as the config says.
std::shared_ptr<VitsDurations> make_durations(const Vits::Config& config);

/// Residual couplings run backwards: latents of the prior [B, flow_size, L] → of the generator.
class VitsFlow : public Module {
 public:
  explicit VitsFlow(const Vits::Config& config);
  at::Tensor operator()(at::Tensor x, const at::Tensor& mask, const at::Tensor& speaker) const;

 private:
  std::shared_ptr<ModuleList<VitsCoupling>> flows_;
};

/// The inverse of the monotonic rational-quadratic spline with linear tails (Durkan et al. 2019,
/// https://arxiv.org/abs/1906.04032): x [...], widths and heights [..., K], derivatives [..., K -
/// 1], all before their normalisation, on [-bound, bound].
at::Tensor inverse_spline(const at::Tensor& x, const at::Tensor& widths, const at::Tensor& heights,
                          const at::Tensor& derivatives, double bound);

/// A convolution of the same length as its input.
std::shared_ptr<Conv> make_same_conv(int64_t in, int64_t out, int64_t kernel, int64_t dilation = 1,
                                     int64_t groups = 1);

}  // namespace plait::models
