#include "plait/models/decoders/published_multimodal.h"

#include <ATen/ATen.h>

#include "plait/core/error.h"
#include "plait/core/weights/model_folder.h"
#include "plait/models/decoders/published_decoders.h"
#include "plait/models/encoders/published_families.h"
#include "plait/models/registry.h"

namespace plait::models {
namespace {

constexpr const char* kUnit = "published";

/// The three parts' weights under their own published names. transformers 5 has them below
/// "model.", earlier ones had the language model's head below "language_model.".
struct Parts {
  TensorMap tower, projector, language;
};

Parts split(const TensorMap& weights, const std::string& tower, const std::string& where) {
  Parts out;
  const std::string projector = "multi_modal_projector.", language = "language_model.";
  for (const auto& [published, tensor] : weights) {
    std::string name = published.starts_with("model.") ? published.substr(6) : published;
    if (name.starts_with(tower)) {
      out.tower[name.substr(tower.size())] = tensor;
    } else if (name.starts_with(projector)) {
      out.projector[name.substr(projector.size())] = tensor;
    } else if (name.starts_with(language)) {
      name = name.substr(language.size());
      const bool whole = name.starts_with("model.") || name.starts_with("lm_head.");
      out.language[whole ? name : "model." + name] = tensor;
    } else if (name.starts_with("lm_head.")) {
      out.language[name] = tensor;
    } else if (name != "image_newline") {
      fail(ErrorCode::kInvalidArgument, kUnit,
           where + ": expected weights of " + tower + "*, " + projector + "* and " + language +
               "*, got " + published.substr(0, 120));
    }
  }
  return out;
}

void merge(TensorMap& into, const TensorMap& weights, const std::string& prefix) {
  for (const auto& [name, tensor] : weights) into[prefix + name] = tensor;
}

/// The part of that name with its model_type, `fallback` unless it says so itself.
Json part_of(const Json& config, const char* key, const char* fallback, const std::string& where) {
  Json part = config.find(key) ? config.at(key) : Json::object({});
  if (!part.is_object()) unsupported(where, key, "an object", part);
  if (!part.contains("model_type")) part["model_type"] = fallback;
  return part;
}

TranslatedModel language_of(const Json& config, const TensorMap& weights, const char* fallback,
                            const std::string& where) {
  Json text = part_of(config, "text_config", fallback, where);
  // Where the whole says that words are tied, the language model is meant.
  if (const Json* tied = config.find("tie_word_embeddings"); tied && tied->is_bool()) {
    if (tied->as_bool()) text["tie_word_embeddings"] = true;
  }
  return translate_published_decoder(text, weights, where + ":text_config");
}

/// Cuts the image tower behind the layer whose tokens are used (counted from the embeddings on, or
/// from the end).
void cut_tower(TranslatedModel& tower, int64_t layer, const std::string& where) {
  const int64_t layers = tower.config.at("num_hidden_layers").as_int();
  const int64_t kept = layer < 0 ? layers + 1 + layer : layer;
  if (kept < 0 || kept > layers)
    unsupported(where, "vision_feature_layer", "one of the tower's layers", layer);
  tower.config["num_hidden_layers"] = kept;
  tower.config["norm_tokens"] = false;
  for (int64_t i = kept; i < layers; ++i) {
    const std::string prefix = "encoder.layers." + std::to_string(i) + ".";
    std::erase_if(tower.weights, [&](const auto& item) { return item.first.starts_with(prefix); });
  }
}

TranslatedModel llava(const Json& config, const TensorMap& weights, const std::string& where) {
  Parts parts = split(weights, "vision_tower.", where);
  Json vision = part_of(config, "vision_config", "clip_vision_model", where);
  const std::string family = published_family(vision.at("model_type").as_string());
  if (family != "clip_vision_model" && family != "siglip_vision_model")
    unsupported(where, "vision_config.model_type", "clip_vision_model or siglip_vision_model",
                vision.at("model_type"));
  vision["model_type"] = family;
  const Json* layer = config.find("vision_feature_layer");
  if (layer && !layer->is_null() && !layer->is_int())
    unsupported(where, "vision_feature_layer", "one layer", *layer);
  const int64_t index = layer && layer->is_int() ? layer->as_int() : -2;
  if (family == "siglip_vision_model" && index == -1)
    unsupported(where, "vision_feature_layer", "a layer before SigLIP's last", index);
  TranslatedModel tower = translate_published(vision, parts.tower, where + ":vision_config");
  cut_tower(tower, index, where);
  TranslatedModel text = language_of(config, parts.language, "llama", where);

  TranslatedModel out;
  out.config = write_config(MultimodalLm::Config{});
  out.config["encoder"] = tower.config;
  out.config["decoder"] = text.config;
  const std::string select = config.get("vision_feature_select_strategy", "default");
  if (select != "default" && select != "full")
    unsupported(where, "vision_feature_select_strategy", "default or full", select);
  out.config["skip_tokens"] = select == "default" ? 1 : 0;
  out.config["projector"] = "mlp";
  out.config["projector_act"] = config.get("projector_hidden_act", "gelu");
  out.config["projector_bias"] = config.get("multimodal_projector_bias", true);
  out.config["placeholder"] =
      config.get("image_token_id", config.get("image_token_index", int64_t{32000}));
  merge(out.weights, tower.weights, "encoder.");
  merge(out.weights, parts.projector, "projector.");
  merge(out.weights, text.weights, "decoder.");
  return out;
}

TranslatedModel qwen2_audio(const Json& config, const TensorMap& weights,
                            const std::string& where) {
  Parts parts = split(weights, "audio_tower.", where);
  Json audio = part_of(config, "audio_config", "qwen2_audio_encoder", where);
  if (const Json* scaled = audio.find("scale_embedding"); scaled && *scaled == Json(true))
    unsupported(where, "audio_config.scale_embedding", "false", *scaled);
  audio["model_type"] = "whisper";
  audio["average_pool"] = 2;
  audio["convolve_padding"] = true;
  TensorMap renamed;
  merge(renamed, parts.tower, "encoder.");
  TranslatedModel tower = translate_published(audio, renamed, where + ":audio_config");
  TranslatedModel text = language_of(config, parts.language, "qwen2", where);

  TranslatedModel out;
  out.config = write_config(MultimodalLm::Config{});
  out.config["encoder"] = tower.config;
  out.config["decoder"] = text.config;
  out.config["projector"] = "linear";
  out.config["placeholder"] =
      config.get("audio_token_id", config.get("audio_token_index", int64_t{151646}));
  merge(out.weights, tower.weights, "encoder.");
  merge(out.weights, parts.projector, "projector.");
  merge(out.weights, text.weights, "decoder.");
  return out;
}

}  // namespace

std::vector<std::string> published_multimodal_types() { return {"llava", "qwen2_audio"}; }

TranslatedModel translate_published_multimodal(const Json& config, const TensorMap& weights,
                                               const std::string& where) {
  const std::string type = config.is_object() ? config.get("model_type", "") : "";
  if (type != "llava" && type != "qwen2_audio") {
    fail(ErrorCode::kInvalidArgument, kUnit,
         where + ": model_type: expected llava or qwen2_audio, got \"" + type.substr(0, 40) + "\"");
  }
  if (const Json* q = config.find("quantization_config"); q && !q->is_null())
    unsupported(where, "quantization_config", "none", *q);
  TranslatedModel out =
      type == "llava" ? llava(config, weights, where) : qwen2_audio(config, weights, where);
  out.config["type"] = "multimodal_lm";
  return out;
}

std::shared_ptr<MultimodalLm> load_published_multimodal(const std::string& dir,
                                                        c10::ScalarType dtype) {
  ModelFolder folder = ModelFolder::open(dir);
  const std::string where = dir + "/config.json";
  TranslatedModel model = translate_published_multimodal(folder.config(), folder.weights(), where);
  auto made = create_as<MultimodalLm>(model.config, where);
  made->to(dtype);
  try {
    made->load_state_dict(model.weights, /*strict=*/true);
  } catch (const Error& error) {
    fail(error.code(), kUnit, dir + ": " + error.what());
  }
  return made;
}

}  // namespace plait::models
