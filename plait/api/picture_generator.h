#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "plait/api/auto_model.h"
#include "plait/api/multimodal_model.h"
#include "plait/data/packages/cache.h"
#include "plait/data/text/clip_tokenizer.h"
#include "plait/models/diffusion/published_diffusion.h"
#include "plait/runtime/diffuse/latent_diffusion.h"

namespace plait::api {

/// How pictures are drawn.
struct PictureOptions : runtime::DiffusionOptions {
  std::string negative_prompt;    ///< What is not wanted
  std::string sampler;            ///< One of runtime::sampler_names(); empty: the model's own
  int64_t width = 0, height = 0;  ///< Pixels; 0: the given picture's, else the model's own

  /// From an object with the names of DiffusionOptions and of these; unknown ones are errors.
  static PictureOptions from_json(const Json& json);
};

/// What to start from.
struct PictureInputs {
  std::optional<Value> image;  ///< Draw on from this picture
  std::optional<Value> mask;   ///< Paint where it is white, keep the rest of the picture
  at::Tensor noise;  ///< [n, C, h, w]: noise to start from; undefined: drawn from the seed
};

/// What was drawn.
struct DrawnPictures {
  std::vector<at::Tensor> pictures;  ///< uint8 RGB [H, W, 3]; none when it was cancelled
  int64_t steps = 0;                 ///< Steps done
  bool cancelled = false;
  double seconds = 0;
};

/// Draws pictures of texts by latent diffusion. Thread-safe after loading.
class PictureGenerator {
 public:
  /// A folder in diffusers' layout of Stable Diffusion 1 and 2 (model_index.json, text_encoder/,
  /// tokenizer/, unet/, vae/, scheduler/), or one that `plait train` wrote: there the index may
  /// name a text encoder of `plait models list`, and there may be no vae/. `options.backend` and
  /// `dtype` are used. @throws Error naming the file that is missing, or what is not supported.
  static std::shared_ptr<PictureGenerator> from_pretrained(const std::string& name_or_path,
                                                           const ModelOptions& options = {},
                                                           const data::Progress& progress = {});

  /// Draws options.num_images_per_prompt pictures of the prompt. `on_step` is called after every
  /// step; false cancels. @throws Error kInvalidArgument for options and pictures that do not fit.
  DrawnPictures draw(const std::string& prompt, const PictureOptions& options = {},
                     const PictureInputs& given = {},
                     const runtime::OnDiffusionStep& on_step = {}) const;

  /// How the model goes from noise to pictures; `name` as in PictureOptions::sampler.
  runtime::SamplerConfig sampler(const std::string& name = "") const;
  /// What a text encoder of CLIP's is given for a prompt: ids of one length, start, end and padding
  /// included. @throws Error kUnavailable for a model with another text encoder.
  std::vector<int64_t> prompt_ids(const std::string& prompt) const;
  /// The pictures' usual width and height.
  int64_t size() const;
  const runtime::LatentDiffusion& diffusion() const { return *diffusion_; }

 private:
  void load_text(const std::string& dir, const Json& index, const ModelOptions& options);
  void encode_texts(const std::vector<std::string>& texts, at::Tensor& states,
                    at::Tensor& mask) const;
  void read_pictures(const PictureOptions& options, const PictureInputs& given,
                     runtime::DiffusionInputs& inputs) const;

  std::unique_ptr<runtime::LatentDiffusion> diffusion_;
  Json scheduler_;
  std::string dir_;
  /// Either CLIP's text tower with rows of one length, or an encoder with a processor of its own.
  std::shared_ptr<models::Encoder> clip_;
  std::shared_ptr<const data::PromptTokenizer> prompts_;
  std::shared_ptr<AutoModel> encoder_;
};

}  // namespace plait::api
