#include "plait/models/encoders/published_families.h"

#include <ATen/ATen.h>

#include "plait/core/config.h"
#include "plait/core/error.h"
#include "plait/core/log.h"
#include "plait/models/encoders/bert.h"
#include "plait/models/encoders/clip_text.h"
#include "plait/models/encoders/resnet.h"
#include "plait/models/encoders/swin_v2.h"
#include "plait/models/encoders/videomae.h"
#include "plait/models/encoders/vit.h"
#include "plait/models/encoders/wav2vec2.h"
#include "plait/models/encoders/whisper.h"

namespace plait::models {
namespace {

constexpr const char* kUnit = "published";

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
  if (matrix_rows(weights, "pooler.weight") > 0) base.pooling = "pooler";
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
  config["projection_dim"] = matrix_rows(weights, "visual_projection.weight");
  return config;
}

Json clip_text(const Json& published, const TensorMap& weights, const std::string& where) {
  Json config = overlay(ClipText::Config{}, published, where);
  // The key is there without a projection too.
  config["projection_dim"] = matrix_rows(weights, "text_projection.weight");
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
  config["num_classes"] = matrix_rows(weights, "classifier.weight");
  return config;
}

Json videomae(Json published, const TensorMap& weights, const std::string& where) {
  make_square(published, "image_size", where);
  make_square(published, "patch_size", where);
  published["dropout"] = published.get("hidden_dropout_prob", 0.0);
  if (const Json* bias = published.find("qkv_bias")) published["qv_bias"] = *bias;
  Json config = overlay(VideoMae::Config{}, published, where);
  config["num_classes"] = matrix_rows(weights, "classifier.weight");
  return config;
}

const std::vector<Requirement> kBertNeeds = {
    {"is_decoder", false}, {"add_cross_attention", false}, {"position_embedding_type", "absolute"}};

}  // namespace

const std::map<std::string, Family>& published_families() {
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
      {"clip_text_model",
       {"clip_text", {"text_model."}, {}, R"(^embeddings\.position_ids$)", {}, clip_text}},
      {"clip_vision_model", {"vit", {"vision_model."}, clip_names, text_tower, {}, clip}},
      {"siglip_vision_model", {"vit", {"vision_model."}, clip_names, text_tower, {}, siglip}},
      {"swinv2",
       {"swin_v2",
        {"swinv2."},
        {},
        R"(^(classifier\.|decoder\.|embeddings\.mask_token)|relative_(coords_table|position_index)$)",
        {{"use_absolute_embeddings", false}},
        swin_v2}},
      {"videomae",
       {"videomae",
        {"videomae."},
        {{R"(attention\.([qv])_bias$)", "attention.$1.bias"},
         {R"(attention\.q\.bias$)", "attention.query.bias"},
         {R"(attention\.v\.bias$)", "attention.value.bias"}},
        R"(^(decoder\.|encoder_to_decoder\.|mask_token|position_embeddings))",
        {},
        videomae}},
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

std::string published_family(const std::string& type) {
  if (type == "clip") return "clip_vision_model";
  if (type == "siglip") return "siglip_vision_model";
  if (type == "roberta" || type == "camembert") return "xlm-roberta";
  return type;
}

void unsupported(const std::string& where, const std::string& key, const std::string& expected,
                 const Json& got) {
  fail(ErrorCode::kInvalidArgument, kUnit,
       where + ": " + key + ": expected " + expected + ", got " + got.dump().substr(0, 80) +
           " (not supported)");
}

int64_t matrix_rows(const TensorMap& weights, const char* name) {
  auto it = weights.find(name);
  return it == weights.end() || it->second.dim() != 2 ? 0 : it->second.size(0);
}

}  // namespace plait::models
