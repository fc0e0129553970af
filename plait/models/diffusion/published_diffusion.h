#pragma once
#include <memory>
#include <string>

#include "plait/core/json.h"
#include "plait/core/tensor_map.h"
#include "plait/models/diffusion/autoencoder_kl.h"
#include "plait/models/diffusion/unet.h"
#include "plait/models/encoders/published.h"

/// Published text-to-image models in diffusers' folder layout → modules of Plait.
namespace plait::models {

/// Translates unet/config.json and its weights. Older files' numbers become lists; a key that
/// changes the computation and is not supported is an error. @throws Error kInvalidArgument naming
/// `where`, the key, and what is supported.
TranslatedModel translate_unet(const Json& config, const TensorMap& weights,
                               const std::string& where);
/// The same for vae/config.json; the attention's older names ("query", "proj_attn") are renamed.
TranslatedModel translate_autoencoder(const Json& config, const TensorMap& weights,
                                      const std::string& where);

/// The parts of a folder but for its text encoder and tokenizer. All in eval mode, fp32.
struct LoadedDiffusion {
  Json index;  ///< model_index.json
  std::shared_ptr<UNet2dCondition> unet;
  std::shared_ptr<AutoencoderKl> autoencoder;  ///< Null: the U-Net works on the pixels themselves.
  Json scheduler;                              ///< scheduler/scheduler_config.json
};

/// Reads model_index.json, unet/, vae/ (unless the index names none) and scheduler/; weights are
/// diffusion_pytorch_model.safetensors, its .fp16 form, or .bin. Weights must match exactly.
/// @throws Error kNotFound naming the file that is missing, kInvalidArgument, kCorruptData.
LoadedDiffusion load_diffusion(const std::string& dir);

/// Writes that layout: the index, unet/, vae/ where there is one, scheduler/.
void save_diffusion(const std::string& dir, const LoadedDiffusion& parts);

}  // namespace plait::models
