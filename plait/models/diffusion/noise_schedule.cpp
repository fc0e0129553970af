#include "plait/models/diffusion/noise_schedule.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "plait/core/error.h"

namespace plait::models {
namespace {

constexpr const char* kUnit = "noise_schedule";

/// Nichol & Dhariwal 2021, https://arxiv.org/abs/2102.09672: ᾱ falls like a squared cosine.
at::Tensor cosine_betas(int64_t steps) {
  const auto level = [&](int64_t i) {
    const double t = static_cast<double>(i) / static_cast<double>(steps);
    const double c = std::cos((t + 0.008) / 1.008 * std::numbers::pi / 2);
    return c * c;
  };
  std::vector<double> betas;
  for (int64_t i = 0; i < steps; ++i) betas.push_back(std::min(1 - level(i + 1) / level(i), 0.999));
  return at::tensor(betas, at::kFloat);
}

/// Lin et al. 2024, https://arxiv.org/abs/2305.08891: √ᾱ shifted so that the last step is all
/// noise, and scaled so that the first one stays.
at::Tensor without_signal_at_end(const at::Tensor& betas) {
  at::Tensor root = at::cumprod(1 - betas, 0).sqrt();
  const at::Tensor first = root[0].clone(), last = root[-1].clone();
  root = (root - last) * (first / (first - last));
  at::Tensor product = root.square();
  at::Tensor alphas =
      at::cat({product.slice(0, 0, 1), product.slice(0, 1) / product.slice(0, 0, -1)});
  return 1 - alphas;
}

}  // namespace

void NoiseSchedule::Config::visit(ConfigVisitor& v) {
  v.field("num_train_timesteps", num_train_timesteps, "Steps from a picture to noise",
          {.min = 2, .max = 100000});
  v.field("beta_start", beta_start, "Share of noise that the first step adds",
          {.min = 0, .max = 0.999});
  v.field("beta_end", beta_end, "Share of noise that the last step adds", {.min = 0, .max = 0.999});
  v.field("beta_schedule", beta_schedule, "How the shares grow",
          {.one_of = {"linear", "scaled_linear", "squaredcos_cap_v2"}});
  v.field("trained_betas", trained_betas, "The shares themselves instead; empty: as above",
          {.min = 0, .max = 0.999999});
  v.field("rescale_betas_zero_snr", rescale_betas_zero_snr, "The last step is nothing but noise");
  v.field("prediction_type", prediction_type, "What the network predicts",
          {.one_of = {"epsilon", "sample", "v_prediction"}});
}

NoiseSchedule::Config NoiseSchedule::Config::tiny() {
  Config c;
  c.num_train_timesteps = 20;
  return c;
}

void NoiseSchedule::Config::validate() const {
  require(trained_betas.empty() || trained_betas.size() >= 2, kUnit,
          "expected at least two trained_betas");
  require(trained_betas.size() <= 100000, kUnit, "expected at most 100,000 trained_betas");
  require(beta_start <= beta_end, kUnit, "expected beta_start to be at most beta_end");
}

NoiseSchedule::NoiseSchedule(const Config& config) : config_(config) {
  config.validate();
  const auto floats = at::TensorOptions(at::kFloat);
  const int64_t steps = config.num_train_timesteps;
  at::Tensor betas;
  if (!config.trained_betas.empty()) {
    betas = at::tensor(config.trained_betas, floats);
    config_.num_train_timesteps = betas.size(0);
  } else if (config.beta_schedule == "linear") {
    betas = at::linspace(config.beta_start, config.beta_end, steps, floats);
  } else if (config.beta_schedule == "scaled_linear") {
    betas = at::linspace(std::sqrt(config.beta_start), std::sqrt(config.beta_end), steps, floats)
                .square();
  } else {
    betas = cosine_betas(steps);
  }
  if (config.rescale_betas_zero_snr) betas = without_signal_at_end(betas);
  alphas_cumprod_ = at::cumprod(1 - betas, 0);
}

/// ᾱ of timesteps [B], with the dtype, device and number of dimensions of `like`.
at::Tensor NoiseSchedule::at_steps(const at::Tensor& timesteps, const at::Tensor& like) const {
  require(timesteps.defined() && timesteps.dim() == 1 && timesteps.scalar_type() == at::kLong &&
              (timesteps.size(0) == like.size(0) || timesteps.size(0) == 1),
          kUnit, "expected timesteps [B] int64, one for each picture");
  at::Tensor on_cpu = timesteps.to(at::kCPU);
  require(on_cpu.min().item<int64_t>() >= 0 && on_cpu.max().item<int64_t>() < steps(), kUnit,
          "expected timesteps from 0 to below num_train_timesteps");
  std::vector<int64_t> shape(static_cast<size_t>(like.dim()), 1);
  shape[0] = timesteps.size(0);
  return alphas_cumprod_.index_select(0, on_cpu).to(like.options()).reshape(shape);
}

at::Tensor NoiseSchedule::add_noise(const at::Tensor& pictures, const at::Tensor& noise,
                                    const at::Tensor& timesteps) const {
  const at::Tensor alpha = at_steps(timesteps, pictures);
  return alpha.sqrt() * pictures + (1 - alpha).sqrt() * noise;
}

at::Tensor NoiseSchedule::target(const at::Tensor& pictures, const at::Tensor& noise,
                                 const at::Tensor& timesteps) const {
  if (config_.prediction_type == "epsilon") return noise;
  if (config_.prediction_type == "sample") return pictures;
  const at::Tensor alpha = at_steps(timesteps, pictures);
  return alpha.sqrt() * noise - (1 - alpha).sqrt() * pictures;
}

at::Tensor NoiseSchedule::signal_to_noise(const at::Tensor& timesteps) const {
  const at::Tensor alpha = at_steps(timesteps, timesteps.to(at::kFloat));
  return alpha / (1 - alpha);
}

}  // namespace plait::models
