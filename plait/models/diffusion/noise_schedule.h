#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "plait/core/config.h"

namespace plait::models {

/// How much noise a picture has at each of the training steps (Ho et al. 2020, DDPM,
/// https://arxiv.org/abs/2006.11239): x_t = √ᾱ_t · x_0 + √(1 − ᾱ_t) · noise. Immutable,
/// thread-safe.
class NoiseSchedule {
 public:
  /// Names and meanings of diffusers' scheduler_config.json.
  struct Config {
    int64_t num_train_timesteps = 1000;
    double beta_start = 0.0001;
    double beta_end = 0.02;
    std::string beta_schedule = "linear";
    std::vector<double> trained_betas;
    bool rescale_betas_zero_snr = false;
    std::string prediction_type = "epsilon";

    void visit(ConfigVisitor& v);
    static Config tiny();
    void validate() const;
  };

  explicit NoiseSchedule(const Config& config);

  const Config& settings() const { return config_; }
  int64_t steps() const { return config_.num_train_timesteps; }
  /// ᾱ: float32 [steps], on the CPU.
  const at::Tensor& alphas_cumprod() const { return alphas_cumprod_; }

  /// Pictures [B, ...] with the noise of timesteps [B] int64.
  at::Tensor add_noise(const at::Tensor& pictures, const at::Tensor& noise,
                       const at::Tensor& timesteps) const;
  /// What a network of this prediction_type is to predict: the noise, the picture, or the velocity
  /// √ᾱ · noise − √(1 − ᾱ) · picture (Salimans & Ho 2022, https://arxiv.org/abs/2202.00512).
  at::Tensor target(const at::Tensor& pictures, const at::Tensor& noise,
                    const at::Tensor& timesteps) const;
  /// ᾱ / (1 − ᾱ) of timesteps [B], float32 [B].
  at::Tensor signal_to_noise(const at::Tensor& timesteps) const;

 private:
  at::Tensor at_steps(const at::Tensor& timesteps, const at::Tensor& like) const;

  Config config_;
  at::Tensor alphas_cumprod_;
};

}  // namespace plait::models
