#include "plait/api/picture_generator.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <chrono>
#include <filesystem>

#include "plait/core/device.h"
#include "plait/core/error.h"
#include "plait/data/decode.h"
#include "plait/models/catalogue.h"
#include "plait/models/encoders/clip_text.h"

namespace plait::api {
namespace {

namespace fs = std::filesystem;
constexpr const char* kUnit = "picture_generator";
/// The library that an index names for a text encoder of ours.
constexpr const char* kOwnLibrary = "plait";

/// [library, class] of a part.
std::pair<std::string, std::string> part_of(const Json& index, const char* name) {
  const Json* part = index.find(name);
  if (!part || !part->is_array() || part->size() != 2 || !part->at(0).is_string() ||
      !part->at(1).is_string()) {
    fail(ErrorCode::kInvalidArgument, kUnit,
         std::string("model_index.json: expected \"") + name + "\": [library, class]");
  }
  return {part->at(0).as_string(), part->at(1).as_string()};
}

/// uint8 [H, W, 3] → float32 [1, 3, H, W] in [-1, 1].
at::Tensor to_pixels(const at::Tensor& rgb) {
  return rgb.permute({2, 0, 1}).unsqueeze(0).to(at::kFloat) / 255 * 2 - 1;
}

/// uint8 [H, W, 3] → how white, float32 [1, 1, H, W] in [0, 1].
at::Tensor to_mask(const at::Tensor& rgb) {
  at::Tensor luma = at::tensor({0.299, 0.587, 0.114}, at::kFloat);
  return (at::matmul(rgb.to(at::kFloat), luma) / 255).unsqueeze(0).unsqueeze(0);
}

at::Tensor to_size(const at::Tensor& rgb, int64_t height, int64_t width) {
  if (rgb.size(0) == height && rgb.size(1) == width) return rgb;
  return data::resize_image(rgb, height, width, data::Resample::kLanczos);
}

}  // namespace

PictureOptions PictureOptions::from_json(const Json& json) {
  Json plain = json.is_null() ? Json::object({}) : json;
  PictureOptions out;
  out.negative_prompt = plain.get("negative_prompt", "");
  out.sampler = plain.get("sampler", "");
  out.width = plain.get("width", 0);
  out.height = plain.get("height", 0);
  for (const char* own : {"negative_prompt", "sampler", "width", "height"}) plain.erase(own);
  static_cast<runtime::DiffusionOptions&>(out) =
      read_config<runtime::DiffusionOptions>(plain, "options");
  return out;
}

std::shared_ptr<PictureGenerator> PictureGenerator::from_pretrained(
    const std::string& name_or_path, const ModelOptions& options, const data::Progress& progress) {
  const c10::Device device = device_from_string(options.backend);
  const c10::ScalarType dtype = dtype_from_string(options.dtype);
  auto made = std::make_shared<PictureGenerator>();
  made->dir_ =
      fs::is_directory(name_or_path) ? name_or_path : models::resolve_model(name_or_path, progress);
  models::LoadedDiffusion parts = models::load_diffusion(made->dir_);
  made->scheduler_ = parts.scheduler;
  made->sampler();  // says now what is wrong with it
  made->load_text(made->dir_, parts.index, options);
  parts.unet->to(dtype);
  parts.unet->to(device);
  if (parts.autoencoder) {
    parts.autoencoder->to(dtype);
    parts.autoencoder->to(device);
  }
  made->diffusion_ = std::make_unique<runtime::LatentDiffusion>(parts.unet, parts.autoencoder);
  const int64_t width = made->clip_ ? made->clip_->width() : made->encoder_->encoder()->width();
  if (width != parts.unet->settings().cross_attention_dim) {
    fail(ErrorCode::kInvalidArgument, kUnit,
         made->dir_ + ": expected a text encoder as wide as the U-Net's cross_attention_dim, " +
             std::to_string(parts.unet->settings().cross_attention_dim) + ", got " +
             std::to_string(width));
  }
  return made;
}

void PictureGenerator::load_text(const std::string& dir, const Json& index,
                                 const ModelOptions& options) {
  const auto [library, name] = part_of(index, "text_encoder");
  ModelOptions how;
  how.backend = options.backend;
  how.dtype = options.dtype;
  if (library == kOwnLibrary) {
    encoder_ = AutoModel::from_pretrained(name, how);
    require(encoder_->encoder()->modality() == Modality::kText, kUnit,
            "expected a text encoder in model_index.json, got one of another modality");
    return;
  }
  models::LoadedEncoder loaded = models::load_published(dir + "/text_encoder");
  auto clip = std::dynamic_pointer_cast<models::ClipText>(loaded.encoder);
  if (!clip) {
    fail(ErrorCode::kInvalidArgument, kUnit,
         dir + "/text_encoder: expected CLIP's text tower, got another encoder (" + name + ")");
  }
  prompts_ =
      data::PromptTokenizer::load(dir + "/tokenizer", clip->settings().max_position_embeddings);
  clip_ = clip;
  clip_->to(dtype_from_string(options.dtype));
  clip_->to(device_from_string(options.backend));
}

void PictureGenerator::encode_texts(const std::vector<std::string>& texts, at::Tensor& states,
                                    at::Tensor& mask) const {
  if (clip_) {
    std::vector<int64_t> ids;
    for (const std::string& text : texts) {
      std::vector<int64_t> row = prompts_->row(text);
      ids.insert(ids.end(), row.begin(), row.end());
    }
    at::Tensor rows = at::tensor(ids, at::kLong)
                          .view({static_cast<int64_t>(texts.size()), prompts_->length()})
                          .to(diffusion_->unet().device());
    // Without a mask, as the U-Net was trained: padding is part of what it reads.
    states = clip_->encode({{"input_ids", rows}}).tokens;
    return;
  }
  std::vector<Value> values(texts.begin(), texts.end());
  TensorMap out = (*encoder_)(values);
  states = get(out, "last_hidden_state", kUnit);
  mask = get_or_undefined(out, "mask");
}

runtime::SamplerConfig PictureGenerator::sampler(const std::string& name) const {
  return runtime::read_sampler(scheduler_, name, dir_ + "/scheduler/scheduler_config.json");
}

std::vector<int64_t> PictureGenerator::prompt_ids(const std::string& prompt) const {
  if (!prompts_) {
    fail(ErrorCode::kUnavailable, kUnit,
         "expected a model with CLIP's text encoder, got one with another");
  }
  return prompts_->row(prompt);
}

int64_t PictureGenerator::size() const {
  return diffusion_->unet().settings().sample_size * diffusion_->pixels_per_latent();
}

void PictureGenerator::read_pictures(const PictureOptions& options, const PictureInputs& given,
                                     runtime::DiffusionInputs& inputs) const {
  const int64_t unit = diffusion_->pixels_per_latent();
  inputs.height = options.height > 0 ? options.height : size();
  inputs.width = options.width > 0 ? options.width : size();
  require(!given.mask || given.image, kUnit, "expected an image together with the mask");
  if (!given.image) return;
  at::Tensor image = data::decode_image_value(*given.image, "image");
  if (options.height == 0) inputs.height = image.size(0) / unit * unit;
  if (options.width == 0) inputs.width = image.size(1) / unit * unit;
  if (inputs.height < 1 || inputs.width < 1) {
    fail(ErrorCode::kInvalidArgument, kUnit,
         "expected an image of at least " + std::to_string(unit) + " pixels a side, got " +
             describe(image));
  }
  inputs.image = to_pixels(to_size(image, inputs.height, inputs.width));
  if (!given.mask) return;
  at::Tensor mask = data::decode_image_value(*given.mask, "mask");
  inputs.mask = to_mask(to_size(mask, inputs.height, inputs.width));
}

DrawnPictures PictureGenerator::draw(const std::string& prompt, const PictureOptions& options,
                                     const PictureInputs& given,
                                     const runtime::OnDiffusionStep& on_step) const {
  const auto start = std::chrono::steady_clock::now();
  at::NoGradGuard no_grad;
  require(options.width >= 0 && options.height >= 0, kUnit, "expected a width and a height");
  runtime::DiffusionInputs inputs;
  read_pictures(options, given, inputs);
  inputs.noise = given.noise;
  const bool guided = options.guidance_scale > 1;
  std::vector<std::string> texts = {prompt};
  if (guided) texts.push_back(options.negative_prompt);
  at::Tensor states, mask;
  encode_texts(texts, states, mask);
  inputs.states = states.slice(0, 0, 1);
  if (mask.defined()) inputs.state_mask = mask.slice(0, 0, 1);
  if (guided) {
    inputs.negative = states.slice(0, 1, 2);
    if (mask.defined()) inputs.negative_mask = mask.slice(0, 1, 2);
  }

  DrawnPictures out;
  const auto count = [&](const runtime::DiffusionStep& step) {
    out.steps = step.step;
    return !on_step || on_step(step);
  };
  at::Tensor pixels = diffusion_->draw(sampler(options.sampler), options, inputs, count);
  out.cancelled = !pixels.defined();
  for (int64_t i = 0; pixels.defined() && i < pixels.size(0); ++i) {
    out.pictures.push_back((pixels[i] * 255).round().to(at::kByte).permute({1, 2, 0}).contiguous());
  }
  out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return out;
}

}  // namespace plait::api
