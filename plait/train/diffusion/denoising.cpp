#include "plait/train/diffusion/denoising.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "plait/core/error.h"
#include "plait/core/hash.h"

namespace plait::train {
namespace {

constexpr const char* kUnit = "denoising";
/// Separate streams of random numbers from one item's seed.
constexpr uint64_t kNoiseSalt = 1, kTimeSalt = 2, kPromptSalt = 3, kDropSalt = 4;
/// Spreads the times of evaluation: coprime to every usual number of steps.
constexpr int64_t kStride = 619;

}  // namespace

void DenoisingOptions::visit(ConfigVisitor& v) {
  v.field("prompt_dropout", prompt_dropout, "Share of the items that are shown without a prompt",
          {.min = 0, .max = 1});
  v.field("min_snr_gamma", min_snr_gamma,
          "Most that the ratio of signal to noise counts in the loss; 0: every time counts alike",
          {.min = 0, .max = 1e6});
  v.field("ema_decay", ema_decay, "Of the moving average of the weights", {.min = 0, .max = 1});
}

DenoisingOptions DenoisingOptions::tiny() { return {}; }

DenoisingSource::DenoisingSource(std::shared_ptr<const PromptedPictures> data, int64_t timesteps,
                                 const DenoisingOptions& options)
    : data_(std::move(data)), timesteps_(timesteps), options_(options) {
  require(data_ && data_->pictures.defined() && data_->pictures.dim() == 4 &&
              data_->pictures.size(0) > 0 && data_->pictures.scalar_type() == at::kByte,
          kUnit, "expected pictures, uint8 [N, 3, H, W]");
  require(static_cast<int64_t>(data_->prompts.size()) == data_->pictures.size(0), kUnit,
          "expected prompts of every picture");
  require(data_->nothing.defined() && data_->nothing.dim() == 2, kUnit,
          "expected the empty prompt's states [S, E]");
  for (const auto& prompts : data_->prompts) {
    require(!prompts.empty(), kUnit, "expected at least one prompt of every picture");
    for (int64_t prompt : prompts) {
      require(prompt >= 0 && prompt < static_cast<int64_t>(data_->states.size()), kUnit,
              "expected prompts that there are states of");
    }
  }
}

Batch DenoisingSource::batch(const std::vector<int64_t>& indices, uint64_t epoch_seed) {
  const bool evaluating = epoch_seed == kEvaluationSeed;
  const auto rows = static_cast<int64_t>(indices.size());
  const auto& all = *data_;
  std::vector<at::Tensor> noises, states;
  std::vector<int64_t> times;
  int64_t longest = 1;
  for (int64_t index : indices) {
    require(index >= 0 && index < size(), kUnit, "expected an item of the source");
    const uint64_t seed = mix_seed(epoch_seed, static_cast<uint64_t>(index));
    at::Generator generator = at::detail::createCPUGenerator(mix_seed(seed, kNoiseSalt));
    noises.push_back(at::randn(all.pictures.sizes().slice(1), generator, at::kFloat));
    const auto& prompts = all.prompts[static_cast<size_t>(index)];
    const auto pick = [&](uint64_t salt, size_t count) {
      return static_cast<size_t>(mix_seed(seed, salt) % count);
    };
    times.push_back(evaluating
                        ? index * kStride % timesteps_
                        : static_cast<int64_t>(pick(kTimeSalt, static_cast<size_t>(timesteps_))));
    const auto prompt =
        static_cast<size_t>(prompts[evaluating ? 0 : pick(kPromptSalt, prompts.size())]);
    const bool dropped =
        !evaluating && unit_interval(mix_seed(seed, kDropSalt)) < options_.prompt_dropout;
    states.push_back(dropped ? all.nothing : all.states[prompt]);
    longest = std::max(longest, states.back().size(0));
  }
  at::Tensor padded = at::zeros({rows, longest, all.nothing.size(1)});
  at::Tensor mask = at::zeros({rows, longest}, at::kBool);
  for (int64_t i = 0; i < rows; ++i) {
    const at::Tensor& row = states[static_cast<size_t>(i)];
    padded[i].slice(0, 0, row.size(0)).copy_(row);
    mask[i].slice(0, 0, row.size(0)).fill_(true);
  }
  at::Tensor chosen = all.pictures.index_select(0, at::tensor(indices, at::kLong));
  const at::Tensor present = at::ones({rows}, at::kBool), quality = at::ones({rows});
  Batch batch;
  batch.size = rows;
  batch.streams["picture"] = {{{"pixel_values", chosen.to(at::kFloat) / 127.5 - 1},
                               {"noise", at::stack(noises)},
                               {"timestep", at::tensor(times, at::kLong)}},
                              present,
                              quality};
  batch.streams["text"] = {{{"states", padded}, {"mask", mask}}, present, quality};
  for (int64_t index : indices) batch.ids.push_back(std::to_string(index));
  return batch;
}

/// The U-Net, and the average of its weights as buffers "ema.<name>".
class DenoisingTrainable::Network : public models::Module {
 public:
  explicit Network(const std::shared_ptr<models::UNet2dCondition>& unet) {
    for (const auto& [name, parameter] : add_child("unet", unet)->named_parameters())
      averages_.emplace_back(parameter, add_buffer("ema." + name, at::zeros_like(parameter)));
    updates_ = add_buffer("ema_updates", at::zeros({}, at::kLong));
  }

  /// Takes the weights as they are now into the average. The first weights count little: the
  /// average forgets faster at the beginning.
  void average(double most) {
    at::NoGradGuard no_grad;
    const auto n = static_cast<double>(updates_.item<int64_t>());
    const double decay = n == 0 ? 0 : std::min(most, (1 + n) / (10 + n));
    for (auto& [parameter, mean] : averages_) mean.lerp_(parameter.detach(), 1 - decay);
    updates_.add_(1);
  }

  void use_average(double most) {
    average(most);
    at::NoGradGuard no_grad;
    for (auto& [parameter, mean] : averages_) parameter.detach().copy_(mean);
  }

 private:
  std::vector<std::pair<at::Tensor, at::Tensor>> averages_;
  at::Tensor updates_;
};

DenoisingTrainable::DenoisingTrainable(std::shared_ptr<models::UNet2dCondition> unet,
                                       std::shared_ptr<const models::NoiseSchedule> schedule,
                                       const DenoisingOptions& options)
    : unet_(std::move(unet)), schedule_(std::move(schedule)), options_(options) {
  require(unet_ != nullptr && schedule_ != nullptr, kUnit, "expected a U-Net and its schedule");
  network_ = std::make_shared<Network>(unet_);
}

DenoisingTrainable::~DenoisingTrainable() = default;

models::Module& DenoisingTrainable::module() { return *network_; }

LossOutput DenoisingTrainable::loss(const Batch& batch) {
  // What the last step made of the weights; the step before the first one made nothing.
  if (network_->training()) network_->average(options_.ema_decay);
  const TensorMap& picture = batch.streams.at("picture").inputs;
  const TensorMap& text = batch.streams.at("text").inputs;
  const at::Tensor& pixels = get(picture, "pixel_values", kUnit);
  const at::Tensor& noise = get(picture, "noise", kUnit);
  const at::Tensor& times = get(picture, "timestep", kUnit);
  at::Tensor noisy = schedule_->add_noise(pixels, noise, times);
  at::Tensor predicted =
      unet_->denoise(noisy, times, get(text, "states", kUnit), get_or_undefined(text, "mask"))
          .to(at::kFloat);
  at::Tensor error = (predicted - schedule_->target(pixels, noise, times)).square().mean({1, 2, 3});
  at::Tensor weighted = error;
  if (options_.min_snr_gamma > 0) {
    const at::Tensor ratio = schedule_->signal_to_noise(times).to(error.device());
    const double most = options_.min_snr_gamma;
    const std::string& kind = schedule_->settings().prediction_type;
    // An error of the velocity is SNR + 1 times one of the picture. Capping that instead of the SNR
    // leaves weight to the noisiest times, from which drawing starts.
    weighted = error * (kind == "epsilon"        ? ratio.clamp_max(most) / ratio.clamp_min(1e-8)
                        : kind == "v_prediction" ? (ratio + 1).clamp_max(most) / (ratio + 1)
                                                 : ratio.clamp_max(most));
  }
  return {weighted.mean(), {{"mse", error.detach().mean()}}};
}

void DenoisingTrainable::use_average() { network_->use_average(options_.ema_decay); }

}  // namespace plait::train
