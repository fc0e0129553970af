#include "plait/runtime/diffuse/samplers.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "plait/core/error.h"

namespace plait::runtime {
namespace {

double as_float(double value) { return static_cast<double>(static_cast<float>(value)); }

/// `count` numbers from `first` to `last`, both included; one alone is `first`.
std::vector<double> linspace(double first, double last, int64_t count) {
  std::vector<double> out;
  for (int64_t i = 0; i < count; ++i) {
    out.push_back(count == 1 ? first
                             : first + static_cast<double>(i) * (last - first) /
                                           static_cast<double>(count - 1));
  }
  return out;
}

/// Multiples of trained / steps from the top downwards, rounded, minus one.
std::vector<double> trailing(int64_t trained, int64_t steps) {
  const auto top = static_cast<double>(trained);
  const double stride = top / static_cast<double>(steps);
  std::vector<double> out;
  for (int64_t i = 0; i < steps; ++i)
    out.push_back(std::nearbyint(top - static_cast<double>(i) * stride) - 1);
  return out;
}

/// 0, stride, 2·stride ... from the top downwards, plus the offset.
std::vector<double> leading(int64_t stride, int64_t steps, int64_t first, int64_t offset,
                            int64_t trained) {
  std::vector<double> out;
  for (int64_t i = steps - 1 + first; i >= first; --i)
    out.push_back(static_cast<double>(std::min(i * stride + offset, trained - 1)));
  return out;
}

}  // namespace

StepSampler::StepSampler(const SamplerConfig& config, int64_t steps)
    : Sampler(config), config_(config) {
  const int64_t trained = schedule_.steps();
  if (config.timestep_spacing == "linspace") {
    timesteps_ = linspace(0, static_cast<double>(trained - 1), steps);
    for (double& t : timesteps_) t = std::nearbyint(t);
    std::reverse(timesteps_.begin(), timesteps_.end());
  } else if (config.timestep_spacing == "leading") {
    timesteps_ = leading(trained / steps, steps, 0, config.steps_offset, trained);
  } else {
    timesteps_ = trailing(trained, steps);
  }
}

int64_t StepSampler::timestep(int64_t index) const {
  check_index(index);
  return static_cast<int64_t>(timesteps_[static_cast<size_t>(index)]);
}

double StepSampler::alpha(int64_t timestep, double beyond) const {
  if (timestep < 0) return beyond;
  return static_cast<double>(schedule_.alphas_cumprod().const_data_ptr<float>()[timestep]);
}

at::Tensor StepSampler::add_noise(const at::Tensor& picture, const at::Tensor& noise,
                                  int64_t index) const {
  const double a = alpha(timestep(index));
  return picture * std::sqrt(a) + noise * std::sqrt(1 - a);
}

StepSampler::Split StepSampler::split(const at::Tensor& predicted, const at::Tensor& sample,
                                      double a) const {
  const double of_picture = std::sqrt(a), of_noise = std::sqrt(1 - a);
  Split seen;
  if (config_.prediction_type == "epsilon") {
    seen = {(sample - predicted * of_noise) / of_picture, predicted};
  } else if (config_.prediction_type == "sample") {
    seen = {predicted, (sample - predicted * of_picture) / of_noise};
  } else {
    seen = {sample * of_picture - predicted * of_noise, predicted * of_picture + sample * of_noise};
  }
  if (config_.clip_sample)
    seen.picture = seen.picture.clamp(-config_.clip_sample_range, config_.clip_sample_range);
  return seen;
}

DdimSampler::DdimSampler(const SamplerConfig& config, int64_t steps, double eta)
    : StepSampler(config, steps), stride_(schedule_.steps() / steps), eta_(eta) {}

at::Tensor DdimSampler::step(const at::Tensor& predicted, const at::Tensor& sample, int64_t index,
                             const at::Tensor& noise) {
  const int64_t t = timestep(index);
  const double now = alpha(t);
  const double next = alpha(t - stride_, config_.set_alpha_to_one ? 1 : alpha(0));
  const double variance = (1 - next) / (1 - now) * (1 - now / next);
  const double fresh = eta_ * std::sqrt(std::max(variance, 0.0));
  const Split seen = split(predicted, sample, now);
  at::Tensor out = seen.picture * std::sqrt(next) +
                   seen.noise * std::sqrt(std::max(1 - next - fresh * fresh, 0.0));
  return eta_ > 0 ? out + noise * fresh : out;
}

DdpmSampler::DdpmSampler(const SamplerConfig& config, int64_t steps) : StepSampler(config, steps) {}

at::Tensor DdpmSampler::step(const at::Tensor& predicted, const at::Tensor& sample, int64_t index,
                             const at::Tensor& noise) {
  const int64_t t = timestep(index);
  const double now = alpha(t), next = index + 1 < size() ? alpha(timestep(index + 1)) : 1;
  const double kept = now / next, added = 1 - kept;
  const Split seen = split(predicted, sample, now);
  at::Tensor out = seen.picture * (std::sqrt(next) * added / (1 - now)) +
                   sample * (std::sqrt(kept) * (1 - next) / (1 - now));
  if (t == 0) return out;
  const double variance = config_.variance_type == "fixed_large"
                              ? added
                              : std::max((1 - next) / (1 - now) * added, 1e-20);
  return out + noise * std::sqrt(variance);
}

PndmSampler::PndmSampler(const SamplerConfig& config, int64_t steps)
    : StepSampler(config, steps), stride_(schedule_.steps() / steps) {
  if (steps > 1) timesteps_.insert(timesteps_.begin() + 1, timesteps_[1]);
}

at::Tensor PndmSampler::step(const at::Tensor& predicted, const at::Tensor& given, int64_t index,
                             const at::Tensor&) {
  int64_t t = timestep(index), next = t - stride_;
  at::Tensor sample = given, slope = predicted;
  if (done_ == 1 && first_.defined()) {
    // Once more from the start, with the mean of both ends.
    next = t;
    t += stride_;
    slope = (predicted + before_.back()) / 2;
    sample = first_;
    first_ = at::Tensor();
  } else {
    before_.push_back(predicted);
    if (before_.size() > 4) before_.erase(before_.begin());
    const auto& e = before_;
    const size_t n = e.size();
    if (n == 1) {
      first_ = given;
    } else if (n == 2) {
      slope = (e[1] * 3 - e[0]) / 2;
    } else if (n == 3) {
      slope = (e[2] * 23 - e[1] * 16 + e[0] * 5) / 12;
    } else {
      slope = (e[3] * 55 - e[2] * 59 + e[1] * 37 - e[0] * 9) / 24;
    }
  }
  ++done_;
  const double now = alpha(std::min(t, schedule_.steps() - 1));
  const double then = alpha(next, config_.set_alpha_to_one ? 1 : alpha(0));
  if (config_.prediction_type == "v_prediction")
    slope = slope * std::sqrt(now) + sample * std::sqrt(1 - now);
  const double below = now * std::sqrt(1 - then) + std::sqrt(now * (1 - now) * then);
  return sample * std::sqrt(then / now) - slope * ((then - now) / below);
}

SigmaSampler::SigmaSampler(const SamplerConfig& config) : Sampler(config), config_(config) {
  at::Tensor alphas = schedule_.alphas_cumprod();
  if (config.rescale_betas_zero_snr) {
    // Nearly no signal instead of none at all, so that σ stays finite.
    alphas = alphas.clone();
    alphas[-1].fill_(std::ldexp(1.0, -24));
  }
  const at::Tensor sigmas = ((1 - alphas) / alphas).sqrt().contiguous();
  const at::Tensor logs = sigmas.log();
  for (int64_t i = 0; i < sigmas.size(0); ++i) {
    table_.push_back(static_cast<double>(sigmas.const_data_ptr<float>()[i]));
    log_table_.push_back(static_cast<double>(logs.const_data_ptr<float>()[i]));
  }
}

double SigmaSampler::sigma_at(double timestep) const {
  const double last = static_cast<double>(table_.size() - 1);
  const double t = std::clamp(timestep, 0.0, last);
  const auto low = static_cast<size_t>(std::min(std::floor(t), last - 1));
  return table_[low] + (t - static_cast<double>(low)) * (table_[low + 1] - table_[low]);
}

double SigmaSampler::timestep_of(double sigma) const {
  const double wanted = std::log(std::max(sigma, 1e-10));
  auto above = std::upper_bound(log_table_.begin(), log_table_.end(), wanted);
  const auto found = static_cast<size_t>(above - log_table_.begin());
  const size_t low = std::min(found > 0 ? found - 1 : 0, log_table_.size() - 2);
  const double share = (log_table_[low] - wanted) / (log_table_[low] - log_table_[low + 1]);
  return static_cast<double>(low) + std::clamp(share, 0.0, 1.0);
}

std::vector<double> SigmaSampler::karras(double high, double low, int64_t steps) {
  constexpr double kRho = 7;
  std::vector<double> out = linspace(0, 1, steps);
  const double from = std::pow(high, 1 / kRho), to = std::pow(low, 1 / kRho);
  for (double& x : out) x = std::pow(from + x * (to - from), kRho);
  return out;
}

void SigmaSampler::set_sigmas(std::vector<double> sigmas) {
  const double first_alpha =
      static_cast<double>(schedule_.alphas_cumprod().const_data_ptr<float>()[0]);
  sigmas.push_back(
      config_.final_sigmas_type == "zero" ? 0 : std::sqrt((1 - first_alpha) / first_alpha));
  for (double& sigma : sigmas) sigma = as_float(sigma);
  sigmas_ = std::move(sigmas);
}

EulerSampler::EulerSampler(const SamplerConfig& config, int64_t steps) : SigmaSampler(config) {
  const int64_t trained = schedule_.steps();
  if (config.timestep_spacing == "linspace") {
    timesteps_ = linspace(0, static_cast<double>(trained - 1), steps);
    std::reverse(timesteps_.begin(), timesteps_.end());
    for (double& t : timesteps_) t = as_float(t);
  } else if (config.timestep_spacing == "leading") {
    timesteps_ = leading(trained / steps, steps, 0, config.steps_offset, trained);
  } else {
    timesteps_ = trailing(trained, steps);
  }
  std::vector<double> sigmas;
  for (double t : timesteps_) sigmas.push_back(sigma_at(t));
  if (config.use_karras_sigmas) {
    sigmas = karras(sigmas.front(), sigmas.back(), steps);
    for (size_t i = 0; i < sigmas.size(); ++i) timesteps_[i] = as_float(timestep_of(sigmas[i]));
  }
  set_sigmas(std::move(sigmas));
}

double EulerSampler::initial_scale() const {
  const double most = *std::max_element(sigmas_.begin(), sigmas_.end());
  return config_.timestep_spacing == "leading" ? std::sqrt(most * most + 1) : most;
}

at::Tensor EulerSampler::scale_input(const at::Tensor& sample, int64_t index) const {
  check_index(index);
  const double sigma = sigmas_[static_cast<size_t>(index)];
  return sample / std::sqrt(sigma * sigma + 1);
}

at::Tensor EulerSampler::add_noise(const at::Tensor& picture, const at::Tensor& noise,
                                   int64_t index) const {
  check_index(index);
  return picture + noise * sigmas_[static_cast<size_t>(index)];
}

at::Tensor EulerSampler::step(const at::Tensor& predicted, const at::Tensor& sample, int64_t index,
                              const at::Tensor&) {
  check_index(index);
  const double sigma = sigmas_[static_cast<size_t>(index)];
  const double next = sigmas_[static_cast<size_t>(index) + 1];
  at::Tensor picture;
  if (config_.prediction_type == "epsilon") {
    picture = sample - predicted * sigma;
  } else if (config_.prediction_type == "sample") {
    picture = predicted;
  } else {
    picture = sample / (sigma * sigma + 1) - predicted * (sigma / std::sqrt(sigma * sigma + 1));
  }
  return sample + (sample - picture) / sigma * (next - sigma);
}

DpmSampler::DpmSampler(const SamplerConfig& config, int64_t steps) : SigmaSampler(config) {
  const int64_t trained = schedule_.steps();
  if (config.timestep_spacing == "linspace") {
    timesteps_ = linspace(0, static_cast<double>(trained - 1), steps + 1);
    timesteps_.erase(timesteps_.begin());
    for (double& t : timesteps_) t = std::nearbyint(t);
    std::reverse(timesteps_.begin(), timesteps_.end());
  } else if (config.timestep_spacing == "leading") {
    timesteps_ = leading(trained / (steps + 1), steps, 1, config.steps_offset, trained);
  } else {
    timesteps_ = trailing(trained, steps);
  }
  std::vector<double> sigmas;
  for (double t : timesteps_) sigmas.push_back(sigma_at(t));
  if (config.use_karras_sigmas) {
    sigmas = karras(table().back(), table().front(), steps);
    const bool round = config.beta_schedule != "squaredcos_cap_v2";
    for (size_t i = 0; i < sigmas.size(); ++i) {
      const double t = timestep_of(sigmas[i]);
      timesteps_[i] = round ? std::nearbyint(t) : std::floor(t);
    }
  }
  set_sigmas(std::move(sigmas));
}

at::Tensor DpmSampler::add_noise(const at::Tensor& picture, const at::Tensor& noise,
                                 int64_t index) const {
  check_index(index);
  const double sigma = sigmas_[static_cast<size_t>(index)];
  const double share = 1 / std::sqrt(sigma * sigma + 1);
  return picture * share + noise * (sigma * share);
}

/// The first step has nothing before it; the last one would divide by zero noise or, in few steps,
/// overshoot.
bool DpmSampler::first_order(int64_t index) const {
  if (!before_.defined()) return true;
  return index == size() - 1 &&
         (config_.euler_at_final || (config_.lower_order_final && size() < 15) ||
          config_.final_sigmas_type == "zero");
}

at::Tensor DpmSampler::step(const at::Tensor& predicted, const at::Tensor& sample, int64_t index,
                            const at::Tensor&) {
  check_index(index);
  struct Level {
    double picture, noise, log_ratio;
  };
  const auto level = [&](int64_t i) {
    const double sigma = sigmas_[static_cast<size_t>(i)];
    const double share = 1 / std::sqrt(sigma * sigma + 1);
    return Level{share, sigma * share, -std::log(sigma)};
  };
  const Level now = level(index), next = level(index + 1);
  at::Tensor seen;
  if (config_.prediction_type == "epsilon") {
    seen = (sample - predicted * now.noise) / now.picture;
  } else if (config_.prediction_type == "sample") {
    seen = predicted;
  } else {
    seen = sample * now.picture - predicted * now.noise;
  }
  const double h = next.log_ratio - now.log_ratio;
  const double fall = std::exp(-h) - 1;
  at::Tensor out = sample * (next.noise / now.noise) - seen * (next.picture * fall);
  if (!first_order(index)) {
    const double ratio = (now.log_ratio - level(index - 1).log_ratio) / h;
    at::Tensor change = (seen - before_) / ratio;
    out = config_.solver_type == "midpoint" ? out - change * (0.5 * next.picture * fall)
                                            : out + change * (next.picture * (fall / h + 1));
  }
  before_ = seen;
  return out;
}

}  // namespace plait::runtime
