#include "plait/models/diffusion/published_diffusion.h"

#include <ATen/ATen.h>

#include <filesystem>

#include "plait/core/error.h"
#include "plait/core/file.h"
#include "plait/core/log.h"
#include "plait/core/weights/pth.h"
#include "plait/core/weights/safetensors.h"
#include "plait/models/encoders/published_families.h"
#include "plait/models/registry.h"

namespace plait::models {
namespace {

namespace fs = std::filesystem;
constexpr const char* kUnit = "diffusion";
constexpr size_t kMaxConfig = size_t{1} << 20;
constexpr const char* kWeights = "diffusion_pytorch_model";

const std::vector<Requirement> kUnetNeeds = {
    {"mid_block_type", "UNetMidBlock2DCrossAttn"},
    {"only_cross_attention", false},
    {"mid_block_only_cross_attention", false},
    {"dual_cross_attention", false},
    {"class_embed_type", nullptr},
    {"num_class_embeds", nullptr},
    {"addition_embed_type", nullptr},
    {"encoder_hid_dim", nullptr},
    {"encoder_hid_dim_type", nullptr},
    {"num_attention_heads", nullptr},
    {"reverse_transformer_layers_per_block", nullptr},
    {"resnet_time_scale_shift", "default"},
    {"resnet_skip_time_act", false},
    {"resnet_out_scale_factor", 1.0},
    {"time_embedding_type", "positional"},
    {"time_embedding_dim", nullptr},
    {"time_embedding_act_fn", nullptr},
    {"timestep_post_act", nullptr},
    {"time_cond_proj_dim", nullptr},
    {"conv_in_kernel", 3},
    {"conv_out_kernel", 3},
    {"downsample_padding", 1},
    {"mid_block_scale_factor", 1},
    {"attention_type", "default"},
    {"class_embeddings_concat", false},
    {"cross_attention_norm", nullptr},
    {"center_input_sample", false},
};
const std::vector<Requirement> kAutoencoderNeeds = {{"latents_mean", nullptr},
                                                    {"latents_std", nullptr}};

bool same(const Json& a, const Json& b) {
  return a.is_number() && b.is_number() ? a.as_double() == b.as_double() : a == b;
}

void check(const Json& config, const std::vector<Requirement>& needs, const std::string& where) {
  require(config.is_object(), kUnit, "expected a config that is an object");
  for (const Requirement& need : needs) {
    const Json* value = config.find(need.key);
    if (value && !value->is_null() && !same(*value, need.value))
      unsupported(where, need.key, need.value.dump(), *value);
  }
}

/// One number for a list of equal ones.
void make_single(Json& config, const char* key, const std::string& where) {
  Json* value = config.find(key);
  if (!value || !value->is_array() || value->size() == 0) return;
  const Json first = value->at(size_t{0});
  for (const Json& item : value->items()) {
    if (!(item == first)) unsupported(where, key, "one number for all", *value);
  }
  config[key] = first;
}

/// A list of one for a number.
void make_list(Json& config, const char* key) {
  Json* value = config.find(key);
  if (value && value->is_number()) config[key] = Json::array({*value});
}

/// `base` with the values of the keys that both have.
Json overlay(Json base, const Json& published, const std::string& where) {
  for (const auto& [key, value] : published.members()) {
    if (!base.contains(key)) {
      log_debug(kUnit, where + ": the key \"" + key + "\" has no effect here");
    } else if (!value.is_null()) {
      base[key] = value;
    }
  }
  return base;
}

Json read_json(const std::string& path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error))
    fail(ErrorCode::kNotFound, kUnit, "expected the file " + path + ", got none");
  std::string text = read_file(path, kMaxConfig);
  // Python writes what JSON lacks: an infinite bound is no bound.
  for (const std::string name : {"-Infinity", "Infinity", "NaN"}) {
    for (size_t at = text.find(": " + name); at != std::string::npos;
         at = text.find(": " + name, at))
      text.replace(at, name.size() + 2, ": null");
  }
  return Json::parse(text, path);
}

TensorMap read_weights(const std::string& dir) {
  std::error_code error;
  for (const char* form : {".safetensors", ".fp16.safetensors"}) {
    const std::string path = dir + "/" + kWeights + form;
    if (fs::is_regular_file(path, error)) return load_safetensors(path);
  }
  for (const char* form : {".bin", ".fp16.bin"}) {
    const std::string path = dir + "/" + kWeights + form;
    if (fs::is_regular_file(path, error)) return load_pth(path);
  }
  fail(ErrorCode::kNotFound, kUnit,
       dir + ": expected weights (" + kWeights +
           ".safetensors, .fp16.safetensors or .bin), got none");
}

template <class M>
std::shared_ptr<M> load_part(const std::string& dir,
                             TranslatedModel (*translate)(const Json&, const TensorMap&,
                                                          const std::string&)) {
  const std::string where = dir + "/config.json";
  TranslatedModel model = translate(read_json(where), read_weights(dir), where);
  auto made = create_as<M>(model.config, where);
  try {
    made->load_state_dict(model.weights, /*strict=*/true);
  } catch (const Error& error) {
    fail(error.code(), kUnit, dir + ": " + error.what());
  }
  return made;
}

/// The index names the library and class of each part; [null, null] says that it is not there.
bool has_part(const Json& index, const char* name) {
  const Json* part = index.find(name);
  return part && part->is_array() && part->size() == 2 && !part->at(1).is_null();
}

void save_part(const std::string& dir, const char* type, Json config, const TensorMap& weights) {
  fs::create_directories(dir);
  config["_class_name"] = type;
  config.write(dir + "/config.json");
  save_safetensors(dir + "/" + kWeights + ".safetensors", weights);
}

}  // namespace

TranslatedModel translate_unet(const Json& given, const TensorMap& weights,
                               const std::string& where) {
  check(given, kUnetNeeds, where);
  Json config = given;
  make_single(config, "sample_size", where);
  make_single(config, "cross_attention_dim", where);
  make_single(config, "layers_per_block", where);
  make_list(config, "attention_head_dim");
  make_list(config, "transformer_layers_per_block");
  TranslatedModel out;
  out.config = overlay(write_config(UNet2dCondition::Config{}), config, where);
  out.config["type"] = "unet_2d_condition";
  out.weights = weights;
  return out;
}

TranslatedModel translate_autoencoder(const Json& given, const TensorMap& weights,
                                      const std::string& where) {
  check(given, kAutoencoderNeeds, where);
  Json config = given;
  make_single(config, "sample_size", where);
  TranslatedModel out;
  out.config = overlay(write_config(AutoencoderKl::Config{}), config, where);
  out.config["type"] = "autoencoder_kl";
  const std::pair<const char*, const char*> older[] = {{".query.", ".to_q."},
                                                       {".key.", ".to_k."},
                                                       {".value.", ".to_v."},
                                                       {".proj_attn.", ".to_out.0."}};
  for (const auto& [published, tensor] : weights) {
    std::string name = published;
    at::Tensor value = tensor;
    if (name.find("mid_block.attentions.") != std::string::npos) {
      for (const auto& [from, to] : older) {
        if (size_t at = name.find(from); at != std::string::npos)
          name.replace(at, std::string(from).size(), to);
      }
      // The oldest have 1×1 convolutions there.
      if (value.dim() == 4 && value.size(2) == 1 && value.size(3) == 1)
        value = value.squeeze(3).squeeze(2);
    }
    out.weights[name] = value;
  }
  return out;
}

LoadedDiffusion load_diffusion(const std::string& dir) {
  LoadedDiffusion out;
  out.index = read_json(dir + "/model_index.json");
  if (!out.index.is_object() || !has_part(out.index, "unet")) {
    fail(ErrorCode::kInvalidArgument, kUnit,
         dir + "/model_index.json: expected a text-to-image model with a \"unet\", got class \"" +
             out.index.get("_class_name", "").substr(0, 60) + "\"");
  }
  out.unet = load_part<UNet2dCondition>(dir + "/unet", translate_unet);
  if (has_part(out.index, "vae"))
    out.autoencoder = load_part<AutoencoderKl>(dir + "/vae", translate_autoencoder);
  out.scheduler = read_json(dir + "/scheduler/scheduler_config.json");
  const int64_t latent = out.autoencoder ? out.autoencoder->settings().latent_channels : 3;
  const int64_t in = out.unet->settings().in_channels, given = out.unet->settings().out_channels;
  if (given != latent || (in != latent && in != 2 * latent + 1)) {
    fail(ErrorCode::kInvalidArgument, kUnit,
         dir + ": expected a U-Net of " + std::to_string(latent) + " channels (or " +
             std::to_string(2 * latent + 1) + " inwards, for in-painting), got " +
             std::to_string(in) + " and " + std::to_string(given));
  }
  return out;
}

void save_diffusion(const std::string& dir, const LoadedDiffusion& parts) {
  require(parts.unet != nullptr, kUnit, "expected a U-Net");
  save_part(dir + "/unet", "UNet2DConditionModel", parts.unet->config(), parts.unet->state_dict());
  if (parts.autoencoder) {
    save_part(dir + "/vae", "AutoencoderKL", parts.autoencoder->config(),
              parts.autoencoder->state_dict());
  }
  fs::create_directories(dir + "/scheduler");
  parts.scheduler.write(dir + "/scheduler/scheduler_config.json");
  // Last, so that a folder with an index is whole.
  parts.index.write(dir + "/model_index.json");
}

}  // namespace plait::models
