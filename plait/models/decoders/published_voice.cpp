#include "plait/models/decoders/published_voice.h"

#include <ATen/ATen.h>

#include <filesystem>

#include "plait/core/error.h"
#include "plait/core/weights/model_folder.h"

namespace plait::models {
namespace {

namespace fs = std::filesystem;

constexpr const char* kUnit = "voice";

/// weight = g · v / |v|, the norm taken over everything but the first dimension.
at::Tensor join_norm(const at::Tensor& g, const at::Tensor& v) {
  std::vector<int64_t> shape(v.dim(), 1);
  shape[0] = v.size(0);
  return v * (g.reshape(shape) / v.flatten(1).norm(2, 1).reshape(shape));
}

/// Weights of torch's two ways of writing a weight norm → the weights themselves.
TensorMap fold_weight_norms(const TensorMap& weights, const std::string& where) {
  const std::pair<std::string, std::string> kinds[] = {
      {".weight_g", ".weight_v"},
      {".parametrizations.weight.original0", ".parametrizations.weight.original1"}};
  TensorMap out;
  for (const auto& [name, tensor] : weights) {
    bool folded = false;
    for (const auto& [g, v] : kinds) {
      folded = folded || name.ends_with(v);
      if (!name.ends_with(g)) continue;
      folded = true;
      const std::string stem = name.substr(0, name.size() - g.size());
      const at::Tensor& direction = get(weights, stem + v, kUnit);
      if (direction.dim() < 2 || tensor.numel() != direction.size(0))
        fail(ErrorCode::kCorruptData, kUnit, where + ": expected a norm for each row of " + stem);
      out[stem + ".weight"] = join_norm(tensor, direction);
    }
    if (!folded) out[name] = tensor;
  }
  return out;
}

/// The fields of the published config that C has too.
template <class C>
Json shared_fields(const Json& published, const std::string& where) {
  Json own = write_config(C{});
  for (const auto& [key, value] : published.members()) {
    if (own.contains(key) && !value.is_null()) own[key] = value;
  }
  return write_config(read_config<C>(own, where));
}

bool only_trains(const std::string& name, bool stochastic) {
  if (name.starts_with("posterior_encoder.")) return true;
  if (!stochastic) return false;
  return name.starts_with("duration_predictor.post_") ||
         name.starts_with("duration_predictor.flows.1.");
}

Json letters_of(const ModelFolder& folder) {
  const std::string vocabulary = folder.file("vocab.json");
  if (vocabulary.empty())
    fail(ErrorCode::kNotFound, kUnit, folder.dir() + ": expected vocab.json, found none");
  Json symbols = Json::object({});
  const Json letters = Json::read(vocabulary, 4 << 20);
  Json blank;
  for (const auto& [character, id] : letters.members()) {
    symbols[character] = Json::array({id});
    if (id.as_int() == 0) blank = id;
  }
  Json said = Json::object({});
  if (std::string path = folder.file("tokenizer_config.json"); !path.empty())
    said = Json::read(path, 4 << 20);
  if (said.get("is_uroman", false))
    fail(ErrorCode::kUnavailable, kUnit,
         folder.dir() + ": expected a voice that reads its own script, got one of romanised text");
  return Json::object({{"language", said.get("language", "")},
                       {"front_end", said.get("phonemize", false) ? "phonemes" : "letters"},
                       {"symbols", symbols},
                       {"begin", Json()},
                       {"end", Json()},
                       {"blank", said.get("add_blank", true) ? blank : Json()}});
}

/// The one .onnx file of the folder that has a .onnx.json beside it, or "".
std::string find_piper(const std::string& dir) {
  std::string found;
  int count = 0;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(dir, ignored)) {
    const std::string path = entry.path().string();
    if (!path.ends_with(".onnx") || !fs::exists(path + ".json")) continue;
    found = path;
    ++count;
  }
  return count == 1 ? found : "";
}

VoiceParts read_parts(const std::string& dir) {
  const std::string config_path = dir + "/config.json";
  if (!fs::exists(config_path)) {
    if (const std::string onnx = find_piper(dir); !onnx.empty()) return read_piper_voice(onnx);
  }
  ModelFolder folder = ModelFolder::open(dir);
  const std::string type =
      folder.config().is_object() ? folder.config().get("model_type", "") : std::string();
  if (type == "plait-voice")
    return {folder.config().at("vits"), folder.config().at("voice"), folder.weights()};
  if (type == "vits") return read_transformers_voice(dir);
  fail(ErrorCode::kInvalidArgument, kUnit,
       dir + ": expected a voice (Plait's, VITS in transformers' layout, Piper's), got " +
           (type.empty() ? "something else" : type.substr(0, 40)));
}

}  // namespace

VoiceParts translate_vits(const Json& config, const TensorMap& weights, const std::string& where) {
  VoiceParts out;
  out.config = shared_fields<Vits::Config>(config, where);
  const bool stochastic = out.config.get("use_stochastic_duration_prediction", true);
  for (const auto& [name, tensor] : fold_weight_norms(weights, where)) {
    if (!only_trains(name, stochastic)) out.weights[name] = tensor;
  }
  return out;
}

VoiceParts translate_hifi_gan(const Json& config, const TensorMap& weights,
                              const std::string& where) {
  VoiceParts out;
  out.config = shared_fields<HifiGan::Config>(config, where);
  const bool normalised = out.config.get("normalize_before", true);
  for (const auto& [name, tensor] : fold_weight_norms(weights, where)) {
    if (normalised || (name != "mean" && name != "scale")) out.weights[name] = tensor;
  }
  return out;
}

VoiceParts read_transformers_voice(const std::string& dir) {
  ModelFolder folder = ModelFolder::open(dir);
  VoiceParts out = translate_vits(folder.config(), folder.weights(), dir + "/config.json");
  out.voice = letters_of(folder);
  return out;
}

LoadedVoice load_published_voice(const std::string& dir) {
  VoiceParts parts = read_parts(dir);
  LoadedVoice loaded;
  loaded.model = std::make_shared<Vits>(read_config<Vits::Config>(parts.config, dir + ":vits"));
  try {
    loaded.model->load_state_dict(parts.weights, /*strict=*/true);
  } catch (const Error& error) {
    fail(error.code(), kUnit, dir + ": " + error.what());
  }
  loaded.voice = parts.voice;
  return loaded;
}

void save_voice(const std::string& dir, const VoiceParts& parts) {
  save_model_folder(
      dir,
      Json::object({{"model_type", "plait-voice"}, {"vits", parts.config}, {"voice", parts.voice}}),
      parts.weights);
}

}  // namespace plait::models
