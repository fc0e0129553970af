#include "plait/runtime/diffuse/sampler.h"

#include <algorithm>
#include <map>

#include "plait/core/error.h"
#include "plait/runtime/diffuse/samplers.h"

namespace plait::runtime {
namespace {

constexpr const char* kUnit = "sampler";

/// diffusers' class → our name, and its defaults where they are not those of SamplerConfig.
const std::map<std::string, std::pair<std::string, Json>>& published_samplers() {
  static const Json leading =
      Json::object({{"timestep_spacing", "leading"}, {"clip_sample", true}});
  static const Json even = Json::object({{"timestep_spacing", "linspace"}});
  static const std::map<std::string, std::pair<std::string, Json>> all = {
      {"DDIMScheduler", {"ddim", leading}},
      {"DDPMScheduler", {"ddpm", leading}},
      {"EulerDiscreteScheduler", {"euler", even}},
      {"DPMSolverMultistepScheduler", {"dpm++", even}},
      {"PNDMScheduler",
       {"pndm", Json::object({{"timestep_spacing", "leading"}, {"set_alpha_to_one", false}})}},
  };
  return all;
}

/// What keys with an effect must be; a missing or null key means that.
const std::pair<const char*, Json> kRequired[] = {
    {"thresholding", false},
    {"interpolation_type", "linear"},
    {"timestep_type", "discrete"},
    {"use_exponential_sigmas", false},
    {"use_beta_sigmas", false},
    {"use_lu_lambdas", false},
    {"use_flow_sigmas", false},
    {"solver_order", 2},
    {"algorithm_type", "dpmsolver++"},
    {"sigma_min", nullptr},
    {"sigma_max", nullptr},
    {"lambda_min_clipped", nullptr},
};

}  // namespace

void SamplerConfig::visit(ConfigVisitor& v) {
  models::NoiseSchedule::Config::visit(v);
  v.field("sampler", sampler, "How noise becomes a picture", {.one_of = sampler_names()});
  v.field("timestep_spacing", timestep_spacing, "How the steps are spread",
          {.one_of = {"leading", "linspace", "trailing"}});
  v.field("steps_offset", steps_offset, "Added to the steps of leading spacing",
          {.min = 0, .max = 1000});
  v.field("set_alpha_to_one", set_alpha_to_one, "DDIM ends without any noise");
  v.field("clip_sample", clip_sample, "DDIM and DDPM keep pictures within clip_sample_range");
  v.field("clip_sample_range", clip_sample_range, "Largest value of a pixel",
          {.min = 1e-3, .max = 1e3});
  v.field("use_karras_sigmas", use_karras_sigmas, "Levels of noise by Karras et al. 2022");
  v.field("final_sigmas_type", final_sigmas_type, "Noise at the end",
          {.one_of = {"zero", "sigma_min"}});
  v.field("solver_type", solver_type, "Second-order term of DPM-Solver++",
          {.one_of = {"midpoint", "heun"}});
  v.field("lower_order_final", lower_order_final, "First order at the end of fewer than 15 steps");
  v.field("euler_at_final", euler_at_final, "First order at the end always");
  v.field("variance_type", variance_type, "Fresh noise of DDPM",
          {.one_of = {"fixed_small", "fixed_large"}});
}

SamplerConfig SamplerConfig::tiny() {
  SamplerConfig c;
  c.num_train_timesteps = 20;
  return c;
}

void SamplerConfig::validate() const { models::NoiseSchedule::Config::validate(); }

const std::vector<std::string>& sampler_names() {
  static const std::vector<std::string> names = {"ddim", "ddpm", "euler", "dpm++", "pndm"};
  return names;
}

SamplerConfig read_sampler(const Json& published, const std::string& name,
                           const std::string& where) {
  const std::string type = published.get("_class_name", "");
  const auto& known = published_samplers();
  auto it = known.find(type);
  if (!name.empty()) {
    it = std::find_if(known.begin(), known.end(),
                      [&](const auto& entry) { return entry.second.first == name; });
  }
  if (it == known.end()) {
    std::string list;
    for (const auto& [published_name, entry] : known)
      list += (list.empty() ? "" : ", ") + (name.empty() ? published_name : entry.first);
    fail(ErrorCode::kInvalidArgument, kUnit,
         where + ": expected one of " + list + "; got \"" + (name.empty() ? type : name) +
             "\" (choose a sampler by its name)");
  }
  const auto& [sampler, defaults] = it->second;
  // Values that the file only has because they were the defaults of its own class are not kept.
  std::vector<std::string> unset;
  if (const Json* list = published.find("_use_default_values"); list && list->is_array())
    unset = list->as_strings();
  const bool other = it->first != type;
  Json config = write_config(SamplerConfig{});
  for (const auto& [key, value] : defaults.members()) config[key] = value;
  config["sampler"] = sampler;
  for (const auto& [key, value] : published.members()) {
    if (value.is_null() || key == "sampler" || !config.contains(key)) continue;
    if (std::find(unset.begin(), unset.end(), key) == unset.end()) config[key] = value;
  }
  for (const auto& [key, needed] : kRequired) {
    const Json* value = published.find(key);
    if (!value || value->is_null() || *value == needed) continue;
    // Another sampler's own setting does not concern this one.
    if (other && !name.empty() && std::string(key) != "thresholding") continue;
    fail(ErrorCode::kInvalidArgument, kUnit,
         where + ": " + key + ": expected " + needed.dump() + ", got " +
             value->dump().substr(0, 80) + " (not supported)");
  }
  if (type == "PNDMScheduler" && !other && !published.get("skip_prk_steps", false)) {
    fail(ErrorCode::kInvalidArgument, kUnit,
         where + ": skip_prk_steps: expected true, got false (not supported)");
  }
  return read_config<SamplerConfig>(config, where);
}

void Sampler::check_index(int64_t index) const {
  if (index < 0 || index >= size()) {
    fail(ErrorCode::kInvalidArgument, kUnit,
         "expected a step from 0 to " + std::to_string(size() - 1) + ", got " +
             std::to_string(index));
  }
}

std::unique_ptr<Sampler> make_sampler(const SamplerConfig& config, int64_t steps, double eta) {
  config.validate();
  const int64_t trained = config.trained_betas.empty()
                              ? config.num_train_timesteps
                              : static_cast<int64_t>(config.trained_betas.size());
  // DPM-Solver++ has a level beyond the last step, and no two levels may be equal.
  const bool one_more = config.sampler == "dpm++" && config.timestep_spacing != "trailing";
  const int64_t most = one_more ? trained - 1 : trained;
  if (steps < 1 || steps > most) {
    fail(ErrorCode::kInvalidArgument, kUnit,
         "expected 1 to " + std::to_string(most) + " steps, got " + std::to_string(steps));
  }
  require(eta >= 0 && eta <= 1, kUnit, "expected eta from 0 to 1");
  if (config.sampler == "ddim") return std::make_unique<DdimSampler>(config, steps, eta);
  if (config.sampler == "ddpm") return std::make_unique<DdpmSampler>(config, steps);
  if (config.sampler == "pndm") return std::make_unique<PndmSampler>(config, steps);
  if (config.sampler == "euler") return std::make_unique<EulerSampler>(config, steps);
  return std::make_unique<DpmSampler>(config, steps);
}

}  // namespace plait::runtime
