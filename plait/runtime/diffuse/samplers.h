#pragma once
#include <vector>

#include "plait/runtime/diffuse/sampler.h"

/// The samplers that make_sampler makes. Formulas in the numbers of diffusers' schedulers.
namespace plait::runtime {

/// Samplers that think in shares of the picture and of the noise at whole training steps.
class StepSampler : public Sampler {
 public:
  at::Tensor add_noise(const at::Tensor& picture, const at::Tensor& noise,
                       int64_t index) const override;

 protected:
  StepSampler(const SamplerConfig& config, int64_t steps);
  int64_t timestep(int64_t index) const;
  /// ᾱ of a training step; of those below 0, `beyond`.
  double alpha(int64_t timestep, double beyond = 1) const;
  struct Split {
    at::Tensor picture, noise;
  };
  /// What picture and noise the network sees in the sample.
  Split split(const at::Tensor& predicted, const at::Tensor& sample, double alpha) const;

  SamplerConfig config_;
};

/// Song et al. 2021, https://arxiv.org/abs/2010.02502.
class DdimSampler : public StepSampler {
 public:
  DdimSampler(const SamplerConfig& config, int64_t steps, double eta);
  at::Tensor step(const at::Tensor& predicted, const at::Tensor& sample, int64_t index,
                  const at::Tensor& noise) override;
  bool needs_noise(int64_t) const override { return eta_ > 0; }

 private:
  int64_t stride_;
  double eta_;
};

/// Ho et al. 2020, https://arxiv.org/abs/2006.11239.
class DdpmSampler : public StepSampler {
 public:
  DdpmSampler(const SamplerConfig& config, int64_t steps);
  at::Tensor step(const at::Tensor& predicted, const at::Tensor& sample, int64_t index,
                  const at::Tensor& noise) override;
  bool needs_noise(int64_t index) const override { return timestep(index) > 0; }
};

/// The linear multistep method of Liu et al. 2022 (PNDM, https://arxiv.org/abs/2202.09778) without
/// its Runge-Kutta start, which Stable Diffusion 1 comes with. The second step repeats the first
/// one, so there is one step more than was asked for.
class PndmSampler : public StepSampler {
 public:
  PndmSampler(const SamplerConfig& config, int64_t steps);
  at::Tensor step(const at::Tensor& predicted, const at::Tensor& sample, int64_t index,
                  const at::Tensor& noise) override;

 private:
  int64_t stride_;
  std::vector<at::Tensor> before_;  ///< What was predicted, newest last, at most four
  at::Tensor first_;                ///< The sample that the first step started from
  int64_t done_ = 0;
};

/// Samplers that think in σ = √((1 − ᾱ) / ᾱ), which falls from step to step.
class SigmaSampler : public Sampler {
 protected:
  explicit SigmaSampler(const SamplerConfig& config);
  /// σ of every training step, rising.
  const std::vector<double>& table() const { return table_; }
  /// The table between its entries.
  double sigma_at(double timestep) const;
  /// The (fractional) training step that has this σ.
  double timestep_of(double sigma) const;
  /// Levels from high to low with ρ = 7 (Karras et al. 2022, https://arxiv.org/abs/2206.00364).
  static std::vector<double> karras(double high, double low, int64_t steps);
  /// Keeps `sigmas` in float32, with the last one behind them.
  void set_sigmas(std::vector<double> sigmas);

  SamplerConfig config_;
  std::vector<double> sigmas_;  ///< One more than there are steps

 private:
  std::vector<double> table_, log_table_;
};

/// Euler's method on the probability flow of Karras et al. 2022.
class EulerSampler : public SigmaSampler {
 public:
  EulerSampler(const SamplerConfig& config, int64_t steps);
  double initial_scale() const override;
  at::Tensor scale_input(const at::Tensor& sample, int64_t index) const override;
  at::Tensor add_noise(const at::Tensor& picture, const at::Tensor& noise,
                       int64_t index) const override;
  at::Tensor step(const at::Tensor& predicted, const at::Tensor& sample, int64_t index,
                  const at::Tensor& noise) override;
};

/// DPM-Solver++ (2M): Lu et al. 2022, https://arxiv.org/abs/2211.01095. Remembers the picture that
/// the step before saw.
class DpmSampler : public SigmaSampler {
 public:
  DpmSampler(const SamplerConfig& config, int64_t steps);
  at::Tensor add_noise(const at::Tensor& picture, const at::Tensor& noise,
                       int64_t index) const override;
  at::Tensor step(const at::Tensor& predicted, const at::Tensor& sample, int64_t index,
                  const at::Tensor& noise) override;

 private:
  bool first_order(int64_t index) const;
  at::Tensor before_;  ///< The picture seen at the step before; undefined at the first
};

}  // namespace plait::runtime
