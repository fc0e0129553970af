#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "plait/core/config.h"
#include "plait/core/json.h"
#include "plait/models/diffusion/noise_schedule.h"

namespace plait::runtime {

/// How a sampler goes from noise to a picture. Names and meanings of diffusers'
/// scheduler_config.json; defaults are those of its schedulers unless the file says otherwise.
struct SamplerConfig : models::NoiseSchedule::Config {
  std::string sampler = "ddim";  ///< see sampler_names()
  std::string timestep_spacing = "leading";
  int64_t steps_offset = 0;
  bool set_alpha_to_one = true;  ///< DDIM: the last step ends without any noise
  bool clip_sample = false;      ///< DDIM, DDPM: pictures are kept within ±clip_sample_range
  double clip_sample_range = 1;
  bool use_karras_sigmas = false;  ///< Euler, DPM-Solver++
  std::string final_sigmas_type = "zero";
  std::string solver_type = "midpoint";  ///< DPM-Solver++
  bool lower_order_final = true;
  bool euler_at_final = false;
  std::string variance_type = "fixed_small";  ///< DDPM

  void visit(ConfigVisitor& v);
  static SamplerConfig tiny();
  void validate() const;
};

/// The names of samplers: ddim, ddpm, euler, dpm++, pndm.
const std::vector<std::string>& sampler_names();

/// Reads diffusers' scheduler_config.json. `name` replaces the file's own sampler unless it is
/// empty; then what the two have in common is kept and the rest are the defaults of the named one,
/// as diffusers' from_config does. Settings that change the computation and are not supported are
/// errors. @throws Error kInvalidArgument naming `where`, the key, and what is supported.
SamplerConfig read_sampler(const Json& published, const std::string& name,
                           const std::string& where);

/// One run from noise to a picture. `index` counts the steps from 0; call `step` once for each, in
/// order. Not thread-safe; cheap to make.
class Sampler {
 public:
  virtual ~Sampler() = default;

  /// What the network is told at each step, falling; most are whole numbers.
  const std::vector<double>& timesteps() const { return timesteps_; }
  int64_t size() const { return static_cast<int64_t>(timesteps_.size()); }
  const models::NoiseSchedule& schedule() const { return schedule_; }

  /// What the standard normal noise that a run starts from is multiplied by.
  virtual double initial_scale() const { return 1; }
  /// What the network sees of the sample at this step.
  virtual at::Tensor scale_input(const at::Tensor& sample, int64_t index) const {
    (void)index;
    return sample;
  }
  /// A picture with the noise that step `index` starts from.
  virtual at::Tensor add_noise(const at::Tensor& picture, const at::Tensor& noise,
                               int64_t index) const = 0;
  /// The sample of the next step. `noise` is fresh, of the sample's shape; used where
  /// `needs_noise`.
  virtual at::Tensor step(const at::Tensor& predicted, const at::Tensor& sample, int64_t index,
                          const at::Tensor& noise) = 0;
  /// Whether step `index` takes noise.
  virtual bool needs_noise(int64_t index) const {
    (void)index;
    return false;
  }

 protected:
  explicit Sampler(const models::NoiseSchedule::Config& config) : schedule_(config) {}
  void check_index(int64_t index) const;

  models::NoiseSchedule schedule_;
  std::vector<double> timesteps_;
};

/// Makes a run of `steps` steps (PNDM makes one more of them); picture to picture begins in the
/// middle of it. `eta` is DDIM's share of fresh noise. @throws Error kInvalidArgument for more
/// steps than were trained.
std::unique_ptr<Sampler> make_sampler(const SamplerConfig& config, int64_t steps, double eta = 0);

}  // namespace plait::runtime
