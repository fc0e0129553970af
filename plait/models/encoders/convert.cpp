#include "plait/models/encoders/convert.h"

#include <ATen/ATen.h>

#include <filesystem>

#include "plait/core/error.h"
#include "plait/core/file.h"
#include "plait/core/weights/model_folder.h"
#include "plait/core/weights/pth.h"
#include "plait/core/weights/safetensors.h"
#include "plait/models/encoders/bert.h"
#include "plait/models/encoders/ge2e.h"
#include "plait/models/encoders/silero_vad.h"

namespace plait::models {
namespace {

constexpr size_t kMaxTokenizerBytes = size_t{64} << 20;

[[noreturn]] void corrupt(const std::string& where, const std::string& what) {
  fail(ErrorCode::kCorruptData, "convert", where + ": " + what);
}

template <class C>
Json typed(const char* type, const C& config) {
  Json out = Json::object({{"type", type}});
  Json fields = write_config(config);
  for (const auto& [key, value] : fields.members()) out[key] = value;
  return out;
}

bool starts_with(const std::string& text, const std::string& prefix) {
  return text.rfind(prefix, 0) == 0;
}

}  // namespace

Converted convert_minilm(const std::string& dir) {
  ModelFolder folder = ModelFolder::open(dir);
  const Json& published = folder.config();
  std::string where = dir + "/config.json";
  if (published.get("model_type", "") != "bert") corrupt(where, "expected model_type bert");
  if (published.get("position_embedding_type", "absolute") != "absolute") {
    corrupt(where, "expected absolute positions");
  }
  auto config = read_config<Bert::Config>(published, where, UnknownKeys::kLog);
  int64_t max_length = config.max_position_embeddings;

  if (std::string path = folder.file("1_Pooling/config.json"); !path.empty()) {
    Json pooling = Json::read(path, 1 << 20);
    bool mean = pooling.get("pooling_mode_mean_tokens", false),
         cls = pooling.get("pooling_mode_cls_token", false);
    if (mean == cls) corrupt(path, "expected the mean or the first token as pooling");
    config.pooling = mean ? "mean" : "cls";
  }
  if (std::string path = folder.file("modules.json"); !path.empty()) {
    Json modules = Json::read(path, 1 << 20);
    for (const Json& module : modules.items()) {
      if (module.get("type", "").ends_with("Normalize")) config.normalize = true;
    }
  }
  if (std::string path = folder.file("sentence_bert_config.json"); !path.empty()) {
    max_length = std::min(max_length, Json::read(path, 1 << 20).get("max_seq_length", max_length));
  }

  Converted out;
  out.config = typed("bert", config);
  out.processor = Json::object({{"type", "text"}, {"max_length", max_length}});
  for (auto& [name, tensor] : folder.weights()) {
    std::string key = starts_with(name, "bert.") ? name.substr(5) : name;
    if (starts_with(key, "pooler.") || starts_with(key, "cls.") || key == "embeddings.position_ids")
      continue;
    out.weights[key] = tensor;
  }
  std::string tokenizer = folder.file("tokenizer.json");
  if (tokenizer.empty()) fail(ErrorCode::kNotFound, "convert", dir + ": no tokenizer.json");
  out.files["tokenizer.json"] = read_file(tokenizer, kMaxTokenizerBytes);
  return out;
}

Converted convert_silero_vad(const std::string& path) {
  Converted out;
  SileroVad::Config config;
  for (auto& [name, tensor] : load_safetensors(path)) out.weights[name] = tensor.to(at::kFloat);
  auto first = out.weights.find("conv1.weight"), second = out.weights.find("conv2.weight"),
       spectrum = out.weights.find("stft_conv.weight");
  for (auto it : {first, second, spectrum}) {
    if (it == out.weights.end() || it->second.dim() != 3)
      corrupt(path, "expected the weights of silero-vad's convolutions");
  }
  config.n_fft = spectrum->second.size(2);
  config.wide = first->second.size(0);
  config.narrow = second->second.size(0);
  out.config = typed("silero_vad", config);
  out.processor = Json::object({{"type", "waveform"}, {"normalise", false}, {"seconds", 7200}});
  return out;
}

Converted convert_speaker(const std::string& path) {
  Converted out;
  Ge2e::Config config;
  config.num_hidden_layers = 0;
  for (auto& [name, tensor] : load_pth(path)) {
    std::string key = starts_with(name, "model_state.") ? name.substr(12) : name;
    if (!starts_with(key, "lstm.") && !starts_with(key, "linear.")) continue;
    out.weights[key] = tensor.to(at::kFloat).contiguous();
    if (starts_with(key, "lstm.weight_ih_l")) ++config.num_hidden_layers;
  }
  auto first = out.weights.find("lstm.weight_ih_l0"), linear = out.weights.find("linear.weight");
  if (first == out.weights.end() || linear == out.weights.end() || first->second.dim() != 2 ||
      linear->second.dim() != 2) {
    corrupt(path, "expected the weights of an LSTM and a linear layer");
  }
  config.num_mel_bins = first->second.size(1);
  config.hidden_size = first->second.size(0) / 4;
  config.embedding_size = linear->second.size(0);
  out.config = typed("ge2e", config);
  out.processor =
      Json::object({{"type", "log_mel"}, {"mels", config.num_mel_bins}, {"log", "none"}});
  return out;
}

void save_converted(const std::string& dir, const Converted& converted) {
  for (const auto& [name, bytes] : converted.files) {
    std::filesystem::path path = std::filesystem::path(dir) / name;
    std::filesystem::create_directories(path.parent_path());
    write_file_atomic(path.string(), bytes);
  }
  if (!converted.decoder.is_null()) {
    save_model_folder(dir + "/decoder",
                      Json::object({{"model_type", "plait-decoder"},
                                    {"decoder", converted.decoder},
                                    {"generation", converted.generation}}),
                      converted.decoder_weights);
  }
  Json config = Json::object({{"model_type", "plait-encoder"},
                              {"encoder", converted.config},
                              {"processor", converted.processor}});
  if (!converted.classes.empty()) config["classes"] = Json(converted.classes);
  // config.json comes last: with it the folder is complete.
  save_model_folder(dir, config, converted.weights);
}

}  // namespace plait::models
