#include "plait/models/encoders/published.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <optional>
#include <regex>

#include "plait/core/error.h"
#include "plait/core/weights/model_folder.h"
#include "plait/models/encoders/convert.h"
#include "plait/models/encoders/efficientnet_lite.h"
#include "plait/models/encoders/published_families.h"
#include "plait/models/registry.h"

namespace plait::models {
namespace {

constexpr const char* kUnit = "published";

/// torchvision numbers convolutions from 1, a list of ours from 0: "layer.#2.conv." →
/// "layer.1.convolution.".
std::string number_from_zero(std::string name) {
  size_t mark = name.find(".#");
  // A name from outside may hold the mark too: then it is unexpected, and stays as it is.
  if (mark == std::string::npos || name.size() < mark + 9) return name;
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
    config.num_classes = matrix_rows(weights, "_fc.weight");
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
  for (const auto& [name, family] : published_families()) names.push_back(name);
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
  auto it = published_families().find(published_family(type));
  if (it == published_families().end()) {
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
