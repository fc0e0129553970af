#pragma once
#include <memory>
#include <string>
#include <vector>

#include "plait/core/config.h"
#include "plait/models/diffusion/noise_schedule.h"
#include "plait/models/diffusion/unet.h"
#include "plait/train/trainable.h"

namespace plait::train {

/// How a network learns to take noise out of pictures.
struct DenoisingOptions {
  double prompt_dropout = 0.1;
  double min_snr_gamma = 5;
  double ema_decay = 0.999;

  void visit(ConfigVisitor& v);
  static DenoisingOptions tiny();
  void validate() const {}
};

/// Pictures and what they are called.
struct PromptedPictures {
  at::Tensor pictures;                        ///< uint8 [N, 3, H, W]
  std::vector<std::vector<int64_t>> prompts;  ///< Of each picture: which of `states`; the first is
                                              ///< the one that it is judged by
  std::vector<at::Tensor> states;             ///< Of each prompt: its encoded tokens [S, E]
  at::Tensor nothing;                         ///< The empty prompt's [S, E]
};

/// Items: a picture, one of its prompts (or none, with prompt_dropout), a time and noise, all of
/// which follow from (epoch_seed, index). In evaluation every picture has its first prompt, and the
/// times are spread evenly. Batches hold the streams "picture" (pixel_values [B, 3, H, W] in [-1,
/// 1], noise, timestep [B]) and "text" (states [B, S, E], mask [B, S]).
class DenoisingSource : public BatchSource {
 public:
  /// @throws Error kInvalidArgument for pictures without a prompt, or prompts that are not there.
  DenoisingSource(std::shared_ptr<const PromptedPictures> data, int64_t train_timesteps,
                  const DenoisingOptions& options);
  int64_t size() const override { return data_->pictures.size(0); }
  Batch batch(const std::vector<int64_t>& indices, uint64_t epoch_seed) override;

 private:
  std::shared_ptr<const PromptedPictures> data_;
  int64_t timesteps_;
  DenoisingOptions options_;
};

/// Mean squared error of what the network says of the noise (Ho et al. 2020,
/// https://arxiv.org/abs/2006.11239), weighted by min-SNR-γ (Hang et al. 2023,
/// https://arxiv.org/abs/2303.09556); dropped prompts teach it to draw without one (Ho & Salimans
/// 2022, https://arxiv.org/abs/2207.12598). A moving average of the weights is kept beside them, in
/// buffers, so that checkpoints hold it.
class DenoisingTrainable : public Trainable {
 public:
  DenoisingTrainable(std::shared_ptr<models::UNet2dCondition> unet,
                     std::shared_ptr<const models::NoiseSchedule> schedule,
                     const DenoisingOptions& options);
  ~DenoisingTrainable() override;
  models::Module& module() override;
  LossOutput loss(const Batch& batch) override;
  /// Puts the average in place of the U-Net's weights; the end of training.
  void use_average();

 private:
  class Network;
  std::shared_ptr<Network> network_;
  std::shared_ptr<models::UNet2dCondition> unet_;
  std::shared_ptr<const models::NoiseSchedule> schedule_;
  DenoisingOptions options_;
};

}  // namespace plait::train
