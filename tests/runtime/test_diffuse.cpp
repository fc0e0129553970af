// The samplers of latent diffusion step by step against diffusers' schedulers
// (tools/golden/samplers.py), and drawing with a network of a few hundred weights.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "plait/core/error.h"
#include "plait/core/weights/safetensors.h"
#include "plait/models/diffusion/noise_schedule.h"
#include "plait/runtime/diffuse/latent_diffusion.h"
#include "tests/golden.h"

namespace plait::runtime {
namespace {

using tests::close;
using tests::message_of;

constexpr tests::Tolerance kStep = {1e-5, 1e-5};

const SafetensorsFile& golden() {
  static const SafetensorsFile file = SafetensorsFile::open(
      std::string(PLAIT_SOURCE_DIR) + "/tests/golden/diffusion/samplers.safetensors");
  return file;
}

Json cases() { return Json::parse(golden().metadata().at("cases"), "cases"); }

at::Tensor network(const at::Tensor& x, double t) {
  const auto wave = static_cast<double>(std::cos(static_cast<float>(t / 100)));
  return at::tanh(x * 1.3 + wave) + x * 0.2;
}

TEST(Samplers, EqualTheReferenceAfterEveryStep) {
  const at::Tensor start = golden().tensor("inputs.sample");
  const at::Tensor noises = golden().tensor("inputs.noises");
  const Json all = cases();
  for (const Json& row : all.items()) {
    const std::string name = row.at("name").as_string();
    SCOPED_TRACE(name);
    SamplerConfig config = read_sampler(row.at("config"), "", name);
    auto sampler = make_sampler(config, row.at("steps").as_int(), row.at("eta").as_double());
    const at::Tensor times = golden().tensor("timesteps." + name);
    ASSERT_EQ(sampler->size(), times.size(0));
    EXPECT_TRUE(
        close(at::tensor(sampler->timesteps(), at::kDouble), times.to(at::kDouble), {1e-3, 1e-6}));
    at::Tensor x = start * sampler->initial_scale();
    const at::Tensor expected = golden().tensor("samples." + name);
    for (int64_t i = 0; i < sampler->size(); ++i) {
      const double t = sampler->timesteps()[static_cast<size_t>(i)];
      x = sampler->step(network(sampler->scale_input(x, i), t), x, i, noises[i]);
      EXPECT_TRUE(close(x, expected.slice(0, i, i + 1), kStep)) << "step " << i;
    }
  }
}

TEST(NoiseSchedule, AddsNoiseAsTheReference) {
  const Json betas = Json::parse(golden().metadata().at("betas"), "betas");
  const at::Tensor pictures = golden().tensor("inputs.pictures");
  const at::Tensor noise = golden().tensor("inputs.noise");
  const at::Tensor times = golden().tensor("inputs.times");
  for (const auto& [name, settings] : betas.members()) {
    SCOPED_TRACE(name);
    Json config = settings;
    config["prediction_type"] = "v_prediction";
    models::NoiseSchedule schedule(read_config<models::NoiseSchedule::Config>(config, name));
    EXPECT_TRUE(close(schedule.add_noise(pictures, noise, times), golden().tensor("noisy." + name),
                      {1e-6, 0}));
    EXPECT_TRUE(close(schedule.target(pictures, noise, times), golden().tensor("velocity." + name),
                      {1e-6, 0}));
    const at::Tensor alphas = golden().tensor("alphas." + name);
    EXPECT_TRUE(close(schedule.signal_to_noise(times), alphas / (1 - alphas), {1e-6, 1e-5}));
    EXPECT_THROW(schedule.add_noise(pictures, noise, times + 1), Error);
  }
}

TEST(Samplers, ReadAnotherSamplersFile) {
  const Json ddim = Json::object({{"_class_name", "DDIMScheduler"},
                                  {"beta_schedule", "scaled_linear"},
                                  {"timestep_spacing", "leading"},
                                  {"clip_sample_range", 2.0},
                                  {"_use_default_values", Json::array({"timestep_spacing"})}});
  SamplerConfig own = read_sampler(ddim, "", "x");
  EXPECT_EQ(own.sampler, "ddim");
  EXPECT_TRUE(own.clip_sample);
  SamplerConfig other = read_sampler(ddim, "dpm++", "x");
  EXPECT_EQ(other.sampler, "dpm++");
  EXPECT_EQ(other.beta_schedule, "scaled_linear");
  EXPECT_EQ(other.timestep_spacing, "linspace");  // a default is not carried over
  EXPECT_EQ(
      read_sampler(Json::object({{"_class_name", "LMSDiscreteScheduler"}}), "euler", "x").sampler,
      "euler");
}

TEST(Samplers, RefuseWhatTheyDoNotKnow) {
  const auto with = [](const char* type, const char* key, Json value) {
    Json config = Json::object({{"_class_name", type}, {key, value}});
    return message_of([&] { read_sampler(config, "", "x.json"); });
  };
  EXPECT_THAT(with("DDIMScheduler", "thresholding", true), testing::HasSubstr("thresholding"));
  EXPECT_THAT(with("LCMScheduler", "beta_start", 0.1),
              testing::HasSubstr("EulerDiscreteScheduler"));
  EXPECT_THAT(with("DPMSolverMultistepScheduler", "solver_order", 3),
              testing::HasSubstr("solver_order"));
  EXPECT_THAT(with("DPMSolverMultistepScheduler", "algorithm_type", "sde-dpmsolver++"),
              testing::HasSubstr("algorithm_type"));
  EXPECT_THAT(with("PNDMScheduler", "beta_start", 0.001), testing::HasSubstr("skip_prk_steps"));
  EXPECT_THAT(with("DDIMScheduler", "beta_schedule", "sigmoid"),
              testing::HasSubstr("scaled_linear"));
  EXPECT_THAT(message_of([] { read_sampler(Json::object({}), "heun", "x"); }),
              testing::HasSubstr("dpm++"));
  SamplerConfig config = SamplerConfig::tiny();
  EXPECT_THAT(message_of([&] { make_sampler(config, 21); }), testing::HasSubstr("1 to 20 steps"));
  EXPECT_THROW(make_sampler(config, 0), Error);
  config.sampler = "dpm++";
  EXPECT_THAT(message_of([&] { make_sampler(config, 20); }), testing::HasSubstr("1 to 19 steps"));
  auto sampler = make_sampler(config, 2);
  const at::Tensor none = at::zeros({1});
  EXPECT_THAT(message_of([&] { sampler->step(none, none, 2, none); }),
              testing::HasSubstr("a step from 0 to 1"));
}

TEST(Samplers, TakeFewAndManySteps) {
  for (const std::string& name : sampler_names()) {
    for (const char* spacing : {"leading", "linspace", "trailing"}) {
      for (int64_t steps : {1, 2, 3, 19, 20}) {
        SamplerConfig config = SamplerConfig::tiny();
        config.sampler = name;
        config.timestep_spacing = spacing;
        if (name == "dpm++" && steps == 20) continue;  // see RefuseWhatTheyDoNotKnow
        auto sampler = make_sampler(config, steps);
        at::Tensor x = at::ones({1, 2, 2}) * sampler->initial_scale();
        for (int64_t i = 0; i < sampler->size(); ++i) {
          const double t = sampler->timesteps()[static_cast<size_t>(i)];
          EXPECT_GE(t, 0);
          EXPECT_LT(t, 20);
          x = sampler->step(network(sampler->scale_input(x, i), t), x, i, at::zeros({1, 2, 2}));
        }
        EXPECT_TRUE(at::isfinite(x).all().item<bool>()) << name << " " << spacing << " " << steps;
      }
    }
  }
}

class Drawing : public testing::Test {
 protected:
  static std::shared_ptr<LatentDiffusion> make(int64_t in_channels) {
    auto unet_config = models::UNet2dCondition::Config::tiny();
    unet_config.in_channels = in_channels;
    auto unet = std::make_shared<models::UNet2dCondition>(unet_config);
    unet->initialize(1);
    auto autoencoder =
        std::make_shared<models::AutoencoderKl>(models::AutoencoderKl::Config::tiny());
    autoencoder->initialize(2);
    return std::make_shared<LatentDiffusion>(unet, autoencoder);
  }

  static DiffusionInputs inputs() {
    DiffusionInputs in;
    in.states = at::arange(18, at::kFloat).view({1, 3, 6}) / 18;
    in.negative = at::zeros({1, 3, 6});
    in.height = 8;
    in.width = 12;
    return in;
  }

  static DiffusionOptions options() {
    DiffusionOptions o;
    o.num_inference_steps = 4;
    return o;
  }
};

TEST_F(Drawing, DependsOnTheSeedAlone) {
  auto model = make(4);
  const SamplerConfig sampler = SamplerConfig::tiny();
  DiffusionOptions how = options();
  at::Tensor first = model->draw(sampler, how, inputs());
  EXPECT_EQ(first.sizes(), at::IntArrayRef({1, 3, 8, 12}));
  EXPECT_GE(first.min().item<float>(), 0);
  EXPECT_LE(first.max().item<float>(), 1);
  EXPECT_TRUE(first.equal(model->draw(sampler, how, inputs())));
  how.seed = 1;
  EXPECT_FALSE(first.equal(model->draw(sampler, how, inputs())));
}

TEST_F(Drawing, TellsEveryStepAndStops) {
  auto model = make(4);
  std::vector<double> told;
  at::Tensor none =
      model->draw(SamplerConfig::tiny(), options(), inputs(), [&](const DiffusionStep& s) {
        EXPECT_EQ(s.total, 4);
        EXPECT_EQ(s.latents.sizes(), at::IntArrayRef({1, 4, 4, 6}));
        told.push_back(s.timestep);
        return s.step < 2;
      });
  EXPECT_FALSE(none.defined());
  EXPECT_EQ(told, (std::vector<double>{15, 10}));
}

TEST_F(Drawing, KeepsWhatTheMaskLeavesOut) {
  DiffusionInputs in = inputs();
  in.image = at::linspace(-1, 1, 3 * 8 * 12, at::kFloat).view({1, 3, 8, 12});
  in.mask = at::zeros({1, 1, 8, 12});
  in.mask.slice(3, 6).fill_(1);
  DiffusionOptions how = options();
  how.strength = 1;
  at::Tensor last;
  auto model = make(4);
  model->draw(SamplerConfig::tiny(), how, in, [&](const DiffusionStep& s) {
    last = s.latents;
    return true;
  });
  // At the end the kept half is the picture's own latents; other noise changes the other half only.
  how.seed = 0;
  in.noise = at::randn({1, 4, 4, 6});
  at::Tensor other;
  model->draw(SamplerConfig::tiny(), how, in, [&](const DiffusionStep& s) {
    other = s.latents;
    return true;
  });
  EXPECT_TRUE(close(other.slice(3, 0, 3), last.slice(3, 0, 3), {1e-6, 1e-6}));
  EXPECT_GT((other.slice(3, 3) - last.slice(3, 3)).abs().max().item<float>(), 1e-3);
}

TEST_F(Drawing, GivesSeveralPicturesAtOnce) {
  DiffusionOptions how = options();
  how.num_images_per_prompt = 2;
  at::Tensor two = make(4)->draw(SamplerConfig::tiny(), how, inputs());
  ASSERT_EQ(two.size(0), 2);
  EXPECT_FALSE(two[0].equal(two[1]));
}

TEST_F(Drawing, SaysWhatDoesNotFit) {
  auto model = make(4);
  const SamplerConfig sampler = SamplerConfig::tiny();
  const auto draw = [&](const DiffusionInputs& in, DiffusionOptions how) {
    return message_of([&] { model->draw(sampler, how, in); });
  };
  DiffusionInputs in = inputs();
  in.width = 11;
  EXPECT_THAT(draw(in, options()), testing::HasSubstr("multiples of 2"));
  in = inputs();
  in.width = in.height = 1 << 20;
  EXPECT_THAT(draw(in, options()), testing::HasSubstr("16 million"));
  in = inputs();
  in.negative = at::Tensor();
  EXPECT_THAT(draw(in, options()), testing::HasSubstr("negative states"));
  in = inputs();
  in.mask = at::ones({1, 1, 8, 12});
  EXPECT_THAT(draw(in, options()), testing::HasSubstr("image"));
  in = inputs();
  in.image = at::zeros({1, 3, 8, 12});
  DiffusionOptions how = options();
  how.strength = 0.1;
  EXPECT_THAT(draw(in, how), testing::HasSubstr("strength"));
  EXPECT_THAT(message_of([&] { make(9)->draw(sampler, options(), inputs()); }),
              testing::HasSubstr("in-painting"));
}

}  // namespace
}  // namespace plait::runtime
