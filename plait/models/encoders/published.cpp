#include "plait/models/encoders/published.h"

#include <ATen/ATen.h>

#include <functional>
#include <regex>

#include "plait/core/error.h"
#include "plait/core/log.h"
#include "plait/core/weights/model_folder.h"
#include "plait/models/encoders/bert.h"
#include "plait/models/encoders/convert.h"
#include "plait/models/encoders/efficientnet_lite.h"
#include "plait/models/encoders/resnet.h"
#include "plait/models/encoders/swin_v2.h"
#include "plait/models/encoders/vit.h"
#include "plait/models/encoders/wav2vec2.h"
#include "plait/models/encoders/whisper.h"
#include "plait/models/registry.h"

namespace plait::models {
namespace {

constexpr const char* kUnit = "published";

/// What a key must be for the encoder to compute what the reference computes; a missing key means
/// `value`.
struct Requirement {
  const char* key;
  Json value;
};

/// One "model_type": how its config and its names map to an encoder of ours.
struct Family {
  const char* type;                   ///< Name in the registry.
  std::vector<const char*> prefixes;  ///< Stripped from weight names: "bert.".
  std::vector<std::pair<const char*, const char*>>
      renames;          ///< Regular expressions, applied in order.
  const char* ignored;  ///< Names (after renaming) of heads and buffers to leave out.
  std::vector<Requirement> required;
  std::function<Json(const Json& config, const TensorMap& weights, const std::string& where)>
      translate;
};

[[noreturn]] void unsupported(const std::string& where, const std::string& key,
                              const std::string& expected, const Json& got) {
  fail(ErrorCode::kInvalidArgument, kUnit,
       where + ": " + key + ": expected " + expected + ", got " + got.dump().substr(0, 80) +
           " (not supported)");
}

/// `base` with the values of the keys that both have.
template <class C>
Json overlay(const C& base, const Json& published, const std::string& where) {
  Json out = write_config(base);
  for (const auto& [key, value] : published.members()) {
    if (!out.contains(key)) {
      log_debug(kUnit, where + ": the key \"" + key + "\" has no effect here");
    } else if (!value.is_null()) {
      out[key] = value;
    }
  }
  return out;
}

template <class C>
Json plain(const Json& published, const TensorMap&, const std::string& where) {
  return overlay(C{}, published, where);
}

/// Rows of a classifier's matrix, 0 without one.
int64_t rows(const TensorMap& weights, const char* name) {
  auto it = weights.find(name);
  return it == weights.end() || it->second.dim() != 2 ? 0 : it->second.size(0);
}

/// 224 for 224 and [224, 224].
void make_square(Json& config, const char* key, const std::string& where) {
  const Json* value = config.find(key);
  if (!value || !value->is_array()) return;
  if (value->size() != 2 || !(value->at(size_t{0}) == value->at(1)))
    unsupported(where, key, "a square", *value);
  config[key] = value->at(size_t{0});
}

Json vit_config(Json published, const VisionTransformer::Config& base, const std::string& where) {
  make_square(published, "image_size", where);
  make_square(published, "patch_size", where);
  published["dropout"] = published.get("hidden_dropout_prob", base.dropout);
  published["drop_path"] = published.get("drop_path_rate", base.drop_path);
  return overlay(base, published, where);
}

Json plain_vit(const Json& published, const TensorMap& weights, const std::string& where) {
  VisionTransformer::Config base;
  if (rows(weights, "pooler.weight") > 0) base.pooling = "pooler";
  Json config = vit_config(published, base, where);
  const Json* width = published.find("pooler_output_size");
  if (width && width->is_int() && width->as_int() != config.at("hidden_size").as_int()) {
    unsupported(where, "pooler_output_size", "hidden_size", *width);
  }
  return config;
}

Json dinov2(const Json& published, const TensorMap&, const std::string& where) {
  Json config = vit_config(published, VisionTransformer::Config::dinov2(), where);
  config["layer_scale"] = published.get("layerscale_value", 1.0);
  config["swiglu"] = published.get("use_swiglu_ffn", false);
  int64_t wide = static_cast<int64_t>(static_cast<double>(config.at("hidden_size").as_int()) *
                                      published.get("mlp_ratio", 4.0));
  // The gated form keeps the number of parameters: two thirds of the width, rounded up to a
  // multiple of 8.
  if (config.at("swiglu").as_bool())
    wide = (static_cast<int64_t>(static_cast<double>(wide) * 2 / 3) + 7) / 8 * 8;
  config["intermediate_size"] = wide;
  return config;
}

/// The image tower's own part of a two-tower config.
Json vision_part(const Json& published) {
  const Json* part = published.find("vision_config");
  return part && part->is_object() ? *part : published;
}

Json clip(const Json& published, const TensorMap& weights, const std::string& where) {
  Json config = vit_config(vision_part(published), VisionTransformer::Config::clip(), where);
  config["projection_dim"] = rows(weights, "visual_projection.weight");
  return config;
}

Json siglip(const Json& published, const TensorMap&, const std::string& where) {
  Json part = vision_part(published);
  Json config = vit_config(part, VisionTransformer::Config::siglip(), where);
  if (!part.get("vision_use_head", true)) config["pooling"] = "mean";
  return config;
}

Json swin_v2(Json published, const TensorMap&, const std::string& where) {
  make_square(published, "image_size", where);
  make_square(published, "patch_size", where);
  Json config = overlay(SwinV2::Config{}, published, where);
  if (!published.contains("pretrained_window_sizes")) {
    config["pretrained_window_sizes"] = std::vector<int64_t>(config.at("depths").size(), 0);
  }
  return config;
}

Json resnet(const Json& published, const TensorMap& weights, const std::string& where) {
  Json config = overlay(ResNet::Config{}, published, where);
  config["num_classes"] = rows(weights, "classifier.weight");
  return config;
}

const std::vector<Requirement> kBertNeeds = {
    {"is_decoder", false}, {"add_cross_attention", false}, {"position_embedding_type", "absolute"}};

const std::map<std::string, Family>& families() {
  using Renames = std::vector<std::pair<const char*, const char*>>;
  static const Renames bert_names = {{R"(LayerNorm\.gamma$)", "LayerNorm.weight"},
                                     {R"(LayerNorm\.beta$)", "LayerNorm.bias"}};
  static const Renames vit_names = {
      {R"(^encoder\.layer\.)", "encoder.layers."},
      {R"(attention\.attention\.([qkv])(uery|ey|alue)\.)", "self_attn.$1_proj."},
      {R"(attention\.output\.dense)", "self_attn.out_proj"},
      {R"(layernorm_before|norm1)", "layer_norm1"},
      {R"(layernorm_after|norm2)", "layer_norm2"},
      {R"(intermediate\.dense)", "mlp.fc1"},
      {R"((\d)\.output\.dense)", "$1.mlp.fc2"},
      {R"(^pooler\.dense\.)", "pooler."},
      {R"(\.lambda1$)", ""},
  };
  static const Renames clip_names = {
      {R"(\.class_embedding$)", ".cls_token"},
      {R"(\.patch_embedding\.)", ".patch_embeddings.projection."},
      {R"(\.position_embedding\.weight$)", ".position_embeddings"},
      {R"(^post_layernorm\.)", "layernorm."},
  };
  static const Renames torchvision_names = {
      {R"(^conv1\.)", "embedder.embedder.convolution."},
      {R"(^bn1\.)", "embedder.embedder.normalization."},
      {R"(^layer1\.)", "encoder.stages.0.layers."},
      {R"(^layer2\.)", "encoder.stages.1.layers."},
      {R"(^layer3\.)", "encoder.stages.2.layers."},
      {R"(^layer4\.)", "encoder.stages.3.layers."},
      {R"(downsample\.0\.)", "shortcut.convolution."},
      {R"(downsample\.1\.)", "shortcut.normalization."},
      {R"((conv|bn)(1|2|3)\.)", "layer.#$2.$1."},
      {R"(^(fc|classifier\.1)\.)", "classifier."},
  };
  static const Renames wav2vec2_names = {{R"(pos_conv_embed\.conv\.weight_g$)",
                                          "pos_conv_embed.conv.parametrizations.weight.original0"},
                                         {R"(pos_conv_embed\.conv\.weight_v$)",
                                          "pos_conv_embed.conv.parametrizations.weight.original1"}};
  static const char* const text_tower =
      R"(^(text_model\.|text_projection\.|logit_|embeddings\.position_ids))";
  static const std::map<std::string, Family> all = {
      {"bert",
       {"bert",
        {"bert."},
        bert_names,
        R"(^(cls\.|pooler\.|classifier\.|qa_outputs\.|embeddings\.position_ids))",
        kBertNeeds,
        plain<Bert::Config>}},
      {"xlm-roberta",
       {"xlm_roberta",
        {"roberta."},
        bert_names,
        R"(^(lm_head\.|pooler\.|classifier\.|qa_outputs\.|embeddings\.position_ids))",
        kBertNeeds,
        plain<XlmRoberta::Config>}},
      {"resnet", {"resnet", {"resnet."}, torchvision_names, "^$", {}, resnet}},
      {"vit",
       {"vit",
        {"vit."},
        vit_names,
        R"(^(classifier\.|embeddings\.mask_token|decoder\.))",
        {{"pooler_act", "tanh"}},
        plain_vit}},
      {"dinov2",
       {"vit", {"dinov2."}, vit_names, R"(^(classifier\.|embeddings\.mask_token))", {}, dinov2}},
      {"clip_vision_model", {"vit", {"vision_model."}, clip_names, text_tower, {}, clip}},
      {"siglip_vision_model", {"vit", {"vision_model."}, clip_names, text_tower, {}, siglip}},
      {"swinv2",
       {"swin_v2",
        {"swinv2."},
        {},
        R"(^(classifier\.|decoder\.|embeddings\.mask_token)|relative_(coords_table|position_index)$)",
        {{"use_absolute_embeddings", false}},
        swin_v2}},
      {"wav2vec2",
       {"wav2vec2",
        {"wav2vec2."},
        wav2vec2_names,
        R"(^(masked_spec_embed|lm_head\.|quantizer\.|project_q\.|project_hid\.|projector\.|classifier\.))",
        {{"add_adapter", false}, {"adapter_attn_dim", nullptr}},
        plain<Wav2Vec2::Config>}},
      {"whisper",
       {"whisper",
        {"model.encoder.", "encoder."},
        {},
        R"(^(model\.decoder\.|decoder\.|proj_out\.))",
        {},
        plain<Whisper::Config>}},
  };
  return all;
}

/// model_type, with the names of two-tower models led to their image tower.
std::string family_name(const std::string& type) {
  if (type == "clip") return "clip_vision_model";
  if (type == "siglip") return "siglip_vision_model";
  if (type == "roberta" || type == "camembert") return "xlm-roberta";
  return type;
}

/// torchvision numbers convolutions from 1, a list of ours from 0: "layer.#2.conv." →
/// "layer.1.convolution.".
std::string number_from_zero(std::string name) {
  size_t mark = name.find(".#");
  if (mark == std::string::npos) return name;
  bool conv = name.compare(mark + 3, 6, ".conv.") == 0;
  std::string rest = name.substr(mark + (conv ? 9 : 7));
  return name.substr(0, mark + 1) + static_cast<char>(name[mark + 2] - 1) +
         (conv ? ".convolution." : ".normalization.") + rest;
}

TensorMap translate_names(const Family& family, const TensorMap& weights) {
  std::vector<std::pair<std::regex, const char*>> renames;
  for (const auto& [pattern, replacement] : family.renames)
    renames.emplace_back(std::regex(pattern), replacement);
  std::regex ignored(family.ignored);
  TensorMap out;
  for (const auto& [published, tensor] : weights) {
    std::string name = published;
    require(name.size() <= 512, kUnit, "expected names of at most 512 bytes");
    for (const char* prefix : family.prefixes) {
      if (name.starts_with(prefix)) {
        name = name.substr(std::string(prefix).size());
        break;
      }
    }
    for (const auto& [pattern, replacement] : renames)
      name = std::regex_replace(name, pattern, replacement);
    name = number_from_zero(name);
    if (std::regex_search(name, ignored)) continue;
    bool embedding = name == "embeddings.cls_token" || name == "embeddings.position_embeddings";
    out[name] = embedding && (tensor.dim() == 1 || tensor.dim() == 2)
                    ? tensor.reshape({1, -1, tensor.size(-1)})
                    : tensor;
  }
  return out;
}

/// A ResNet's config from the shapes of torchvision's weights; null when they are something else.
Json resnet_from_shapes(const TensorMap& weights) {
  auto stem = weights.find("conv1.weight");
  if (stem == weights.end() || stem->second.dim() != 4 || !weights.count("layer1.0.conv1.weight"))
    return {};
  bool bottleneck = weights.count("layer1.0.conv3.weight") > 0;
  std::vector<int64_t> sizes, depths;
  for (int stage = 1; stage <= 4; ++stage) {
    int64_t depth = 0, size = 0;
    while (true) {
      std::string block = "layer" + std::to_string(stage) + "." + std::to_string(depth);
      auto it = weights.find(block + (bottleneck ? ".conv3.weight" : ".conv2.weight"));
      if (it == weights.end() || it->second.dim() != 4) break;
      size = it->second.size(0);
      ++depth;
    }
    if (depth == 0) break;
    sizes.push_back(size);
    depths.push_back(depth);
  }
  return Json::object({{"model_type", "resnet"},
                       {"num_channels", stem->second.size(1)},
                       {"embedding_size", stem->second.size(0)},
                       {"hidden_sizes", sizes},
                       {"depths", depths},
                       {"layer_type", bottleneck ? "bottleneck" : "basic"}});
}

/// EfficientNet-Lite0 to 4 by the number of tensors and the width of the last block.
std::optional<TranslatedModel> efficientnet_from_shapes(const TensorMap& weights) {
  auto head = weights.find("_conv_head.weight");
  if (head == weights.end() || !weights.count("_conv_stem.weight")) return std::nullopt;
  for (int variant = 0; variant <= 4; ++variant) {
    auto config = EfficientNetLite::Config::lite(variant);
    config.num_classes = rows(weights, "_fc.weight");
    TensorMap own = EfficientNetLite(config).state_dict();
    if (own.size() != weights.size() || own.at("_conv_head.weight").sizes() != head->second.sizes())
      continue;
    Json json = write_config(config);
    json["type"] = "efficientnet_lite";
    return TranslatedModel{json, weights};
  }
  return std::nullopt;
}

/// How a Sentence Transformers folder pools its tokens; other folders keep the mean.
void read_sentence_pooling(const ModelFolder& folder, Json& config) {
  if (!config.contains("pooling") || !config.contains("normalize")) return;
  if (std::string path = folder.file("1_Pooling/config.json"); !path.empty()) {
    Json pooling = Json::read(path, 1 << 20);
    bool mean = pooling.get("pooling_mode_mean_tokens", false),
         cls = pooling.get("pooling_mode_cls_token", false);
    if (mean == cls) unsupported(path, "pooling_mode", "the mean or the first token", pooling);
    config["pooling"] = mean ? "mean" : "cls";
  }
  if (std::string path = folder.file("modules.json"); !path.empty()) {
    Json modules = Json::read(path, 1 << 20);
    for (const Json& module : modules.items()) {
      if (module.get("type", "").ends_with("Normalize")) config["normalize"] = true;
    }
  }
}

void add_missing_counters(const Json& config, TensorMap& weights) {
  // Checkpoints from before PyTorch 0.4.1 lack the batch counter, which only training reads.
  if (config.at("type").as_string() != "resnet") return;
  TensorMap counters;
  for (const auto& [name, tensor] : weights) {
    if (name.ends_with(".running_var"))
      counters[name.substr(0, name.size() - 11) + "num_batches_tracked"] = at::zeros({}, at::kLong);
  }
  weights.merge(counters);
}

}  // namespace

std::vector<std::string> published_model_types() {
  std::vector<std::string> names = {"camembert", "clip", "roberta", "siglip"};
  for (const auto& [name, family] : families()) names.push_back(name);
  std::sort(names.begin(), names.end());
  return names;
}

TranslatedModel translate_published(const Json& given, const TensorMap& weights,
                                    const std::string& where) {
  Json config = given;
  if (!config.is_object() || !config.contains("model_type")) {
    if (auto lite = efficientnet_from_shapes(weights)) return *lite;
    config = resnet_from_shapes(weights);
    if (config.is_null()) {
      fail(ErrorCode::kInvalidArgument, kUnit,
           where + ": expected \"model_type\", or weights of a ResNet or EfficientNet-Lite");
    }
  }
  std::string type = config.at("model_type").as_string();
  auto it = families().find(family_name(type));
  if (it == families().end()) {
    std::string known;
    for (const std::string& name : published_model_types())
      known += (known.empty() ? "" : ", ") + name;
    fail(ErrorCode::kInvalidArgument, kUnit,
         where + ": model_type: expected one of: " + known + "; got \"" + type + "\"");
  }
  const Family& family = it->second;
  auto check = [&](const Requirement& need) {
    const Json* value = config.find(need.key);
    if (value && !value->is_null() && !(*value == need.value))
      unsupported(where, need.key, need.value.dump(), *value);
  };
  for (const Requirement& need : family.required) check(need);
  check({"quantization_config", nullptr});
  check({"pruned_heads", Json(Json::Object{})});

  TranslatedModel out;
  out.weights = translate_names(family, weights);
  out.config = family.translate(config, out.weights, where);
  out.config["type"] = family.type;
  add_missing_counters(out.config, out.weights);
  return out;
}

LoadedEncoder load_published(const std::string& dir) {
  ModelFolder folder = ModelFolder::open(dir);
  std::string where = dir + "/config.json";
  TranslatedModel model;
  bool described = folder.config().is_object() && folder.config().contains("model_type");
  if (!described && !folder.file("model.bin").empty()) {
    Converted whisper = convert_whisper_ct2(folder.file("model.bin"));
    model = {whisper.config, whisper.weights};
  } else {
    model = translate_published(folder.config(), folder.weights(), where);
    read_sentence_pooling(folder, model.config);
  }
  LoadedEncoder loaded;
  loaded.encoder = create_as<Encoder>(model.config, where);
  try {
    loaded.encoder->load_state_dict(model.weights, /*strict=*/true);
  } catch (const Error& error) {
    fail(error.code(), kUnit, dir + ": " + error.what());
  }
  loaded.config = loaded.encoder->config();
  loaded.config["type"] = model.config.at("type");
  return loaded;
}

}  // namespace plait::models
