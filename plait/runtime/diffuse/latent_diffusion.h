#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>

#include "plait/models/diffusion/autoencoder_kl.h"
#include "plait/models/diffusion/unet.h"
#include "plait/runtime/diffuse/options.h"
#include "plait/runtime/diffuse/sampler.h"

namespace plait::runtime {

/// What pictures are drawn of. P prompts; every one gives num_images_per_prompt pictures.
struct DiffusionInputs {
  at::Tensor states;      ///< [P, S, E]: the prompts' tokens
  at::Tensor state_mask;  ///< [P, S], 1 = real; undefined: all are
  at::Tensor negative;    ///< [P, S, E]: what to stay away from; needed with a guidance above 1
  at::Tensor negative_mask;
  int64_t height = 0, width = 0;  ///< Pixels; multiples of the autoencoder's pixels_per_latent
  at::Tensor image;  ///< [1, 3, height, width] in [-1, 1]: draw on from it; undefined: anew
  at::Tensor mask;   ///< [1, 1, height, width]: paint where it is 1, keep the rest
  at::Tensor noise;  ///< [P·n, C, h, w]: what to start from; undefined: from the seed
};

/// Where a drawing is, after each step.
struct DiffusionStep {
  int64_t step = 0;  ///< Steps done
  int64_t total = 0;
  double timestep = 0;  ///< What the network was told
  at::Tensor latents;   ///< [P·n, C, h, w] float32
};
/// Returning false cancels.
using OnDiffusionStep = std::function<bool(const DiffusionStep&)>;

/// Latent diffusion (Rombach et al. 2022, https://arxiv.org/abs/2112.10752) with classifier-free
/// guidance (Ho & Salimans 2022, https://arxiv.org/abs/2207.12598), picture to picture, and
/// in-painting by a U-Net that sees the mask (9 channels) or by keeping the rest as it was. On the
/// CPU, the same seed draws the same noise as diffusers' pipelines with a generator of that seed.
/// Thread-safe.
class LatentDiffusion {
 public:
  /// `autoencoder` null: the U-Net works on pixels.
  LatentDiffusion(std::shared_ptr<models::UNet2dCondition> unet,
                  std::shared_ptr<models::AutoencoderKl> autoencoder);

  /// Pixels [P·n, 3, height, width] in [0, 1], float32 on the CPU; undefined when cancelled.
  /// @throws Error kInvalidArgument for shapes that do not fit; kResourceLimit above 16 million
  /// pixels in all.
  at::Tensor draw(const SamplerConfig& sampler, const DiffusionOptions& options,
                  const DiffusionInputs& inputs, const OnDiffusionStep& on_step = {}) const;

  const models::UNet2dCondition& unet() const { return *unet_; }
  const models::AutoencoderKl* autoencoder() const { return autoencoder_.get(); }
  int64_t pixels_per_latent() const;
  int64_t latent_channels() const;
  /// Whether the U-Net was made for in-painting.
  bool sees_mask() const;

 private:
  class Run;
  std::shared_ptr<models::UNet2dCondition> unet_;
  std::shared_ptr<models::AutoencoderKl> autoencoder_;
};

}  // namespace plait::runtime
