// A U-Net of the pixels learns a few pictures by their prompts, and draws them again.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "plait/core/error.h"
#include "plait/runtime/diffuse/latent_diffusion.h"
#include "plait/train/diffusion/denoising.h"
#include "plait/train/trainer.h"
#include "tests/golden.h"

namespace plait::train {
namespace {

constexpr int64_t kPictures = 4, kSide = 8;

/// One bright half or corner each, told apart by one-hot prompts.
std::shared_ptr<PromptedPictures> pictures() {
  auto data = std::make_shared<PromptedPictures>();
  data->pictures = at::zeros({kPictures, 3, kSide, kSide}, at::kByte);
  data->pictures[0].slice(2, 0, 4).fill_(255);
  data->pictures[1].slice(1, 0, 4).fill_(255);
  data->pictures[2].slice(2, 4).fill_(255);
  data->pictures[3].select(0, 0).fill_(255);
  for (int64_t i = 0; i < kPictures; ++i) {
    at::Tensor state = at::zeros({1 + i % 2, 6});
    state.select(1, i).fill_(3);
    data->states.push_back(state);
    data->prompts.push_back({i});
  }
  data->nothing = at::zeros({1, 6});
  return data;
}

std::shared_ptr<const models::NoiseSchedule> schedule() {
  models::NoiseSchedule::Config config;
  config.num_train_timesteps = 100;
  config.beta_schedule = "squaredcos_cap_v2";
  config.prediction_type = "v_prediction";
  return std::make_shared<const models::NoiseSchedule>(config);
}

std::shared_ptr<models::UNet2dCondition> unet(int64_t width) {
  auto config = models::UNet2dCondition::Config::tiny();
  config.in_channels = config.out_channels = 3;
  config.block_out_channels = {width, width};
  config.down_block_types = {"CrossAttnDownBlock2D", "DownBlock2D"};
  auto made = std::make_shared<models::UNet2dCondition>(config);
  made->initialize(3);
  return made;
}

TrainingArguments arguments(int64_t steps, const std::string& output = "") {
  TrainingArguments args;
  args.output_dir = output;
  args.learning_rate = 4e-3;
  args.max_steps = steps;
  args.per_device_train_batch_size = kPictures;
  args.save_steps = output.empty() ? -1 : 3;
  args.logging_steps = 0;
  args.weight_decay = 0;
  return args;
}

TEST(Denoising, LearnsToDrawWhatItIsTold) {
  auto data = pictures();
  auto net = unet(16);
  // The same four pictures again and again, at other times.
  auto repeated = std::make_shared<PromptedPictures>(*data);
  repeated->pictures = data->pictures.repeat({4, 1, 1, 1});
  for (int i = 0; i < 3; ++i)
    repeated->prompts.insert(repeated->prompts.end(), data->prompts.begin(), data->prompts.end());
  DenoisingOptions options;
  options.ema_decay = 0.98;
  auto trainable = std::make_shared<DenoisingTrainable>(net, schedule(), options);
  auto source = std::make_shared<DenoisingSource>(repeated, 100, options);
  TrainingArguments args = arguments(250);
  args.per_device_train_batch_size = 16;
  Trainer trainer(trainable, args, source);
  const double before = trainer.evaluate(*source).at("loss");
  trainer.train();
  trainable->use_average();
  EXPECT_LT(trainer.evaluate(*source).at("loss"), 0.5 * before);

  runtime::LatentDiffusion diffusion(net, nullptr);
  runtime::SamplerConfig sampler;
  sampler.num_train_timesteps = 100;
  sampler.beta_schedule = "squaredcos_cap_v2";
  sampler.prediction_type = "v_prediction";
  sampler.timestep_spacing = "trailing";
  sampler.clip_sample = true;
  runtime::DiffusionOptions how;
  how.num_inference_steps = 10;
  how.guidance_scale = 2;
  const at::Tensor wanted = data->pictures.to(at::kFloat) / 255;
  for (int64_t i = 0; i < kPictures; ++i) {
    runtime::DiffusionInputs in;
    in.states = data->states[static_cast<size_t>(i)].unsqueeze(0);
    in.negative = at::zeros_like(in.states);
    in.height = in.width = kSide;
    at::Tensor drawn = diffusion.draw(sampler, how, in);
    at::Tensor far = (wanted - drawn).square().mean({1, 2, 3});
    EXPECT_EQ(far.argmin().item<int64_t>(), i) << far;
    EXPECT_LT(far[i].item<float>(), 0.1) << i;
  }
}

TEST(Denoising, GoesOnWhereItWasStopped) {
  const auto base =
      std::filesystem::temp_directory_path() / ("plait_denoising_" + std::to_string(getpid()));
  const auto run = [&](const std::string& name, int64_t stop, const std::string& resume) {
    DenoisingOptions options;
    auto net = unet(8);
    auto trainable = std::make_shared<DenoisingTrainable>(net, schedule(), options);
    TrainingArguments args = arguments(6, (base / name).string());
    args.resume = resume;
    Trainer trainer(trainable, args, std::make_shared<DenoisingSource>(pictures(), 100, options));
    trainer.set_callback([&](const Progress& p) { return p.step < stop; });
    trainer.train();
    trainable->use_average();
    return net->state_dict();
  };
  const TensorMap whole = run("whole", 6, "none");
  run("parts", 3, "none");
  const TensorMap parts = run("parts", 6, "auto");
  std::filesystem::remove_all(base);
  for (const auto& [name, tensor] : whole) EXPECT_TRUE(tensor.equal(parts.at(name))) << name;
}

TEST(Denoising, ItemsFollowFromTheSeed) {
  DenoisingOptions options;
  options.prompt_dropout = 0.5;
  auto data = pictures();
  data->prompts[2] = {2, 3, 0};
  DenoisingSource source(data, 100, options);
  const auto same = [](const Batch& a, const Batch& b) {
    for (const char* name : {"noise", "timestep", "pixel_values"}) {
      if (!a.streams.at("picture").inputs.at(name).equal(b.streams.at("picture").inputs.at(name)))
        return false;
    }
    return a.streams.at("text").inputs.at("states").equal(b.streams.at("text").inputs.at("states"));
  };
  EXPECT_TRUE(same(source.batch({2, 0}, 5), source.batch({2, 0}, 5)));
  EXPECT_FALSE(same(source.batch({2, 0}, 5), source.batch({2, 0}, 6)));
  Batch judged = source.batch({2, 1}, kEvaluationSeed);
  const at::Tensor states = judged.streams.at("text").inputs.at("states");
  EXPECT_TRUE(states[0].slice(0, 0, 1).equal(data->states[2]));
  // The longer prompt sets the width; the rest of the shorter one is masked.
  EXPECT_EQ(states.size(1), 2);
  EXPECT_EQ(judged.streams.at("text").inputs.at("mask").sum().item<int64_t>(), 3);
  data->prompts[1] = {9};
  EXPECT_THROW(DenoisingSource(data, 100, options), Error);
}

TEST(Denoising, WeightsTimesByTheirSignal) {
  auto net = unet(8);
  DenoisingOptions plain, weighted;
  plain.min_snr_gamma = 0;
  weighted.min_snr_gamma = 5;
  DenoisingSource source(pictures(), 100, plain);
  const Batch batch = source.batch({0, 1, 2, 3}, 1);
  DenoisingTrainable one(net, schedule(), plain), two(net, schedule(), weighted);
  one.module().train(false);
  two.module().train(false);
  const at::Tensor times = batch.streams.at("picture").inputs.at("timestep");
  const at::Tensor ratio = schedule()->signal_to_noise(times);
  // v_prediction: min(SNR + 1, γ) / (SNR + 1) of each row's error.
  at::Tensor rows = at::empty({4});
  for (int64_t i = 0; i < 4; ++i) {
    Batch alone = source.batch({i}, 1);
    rows[i].copy_(one.loss(alone).loss.detach());
  }
  at::Tensor expected = (rows * (ratio + 1).clamp_max(5) / (ratio + 1)).mean();
  EXPECT_TRUE(tests::close(two.loss(batch).loss, expected, {1e-5, 1e-4}));
  EXPECT_TRUE(tests::close(one.loss(batch).loss, rows.mean(), {1e-5, 1e-4}));
}

}  // namespace
}  // namespace plait::train
