#include "plait/models/encoders/convert.h"

#include <ATen/ATen.h>

#include <filesystem>

#include "plait/core/error.h"
#include "plait/core/file.h"
#include "plait/core/weights/ctranslate2.h"
#include "plait/core/weights/model_folder.h"
#include "plait/core/weights/pth.h"
#include "plait/models/encoders/bert.h"
#include "plait/models/encoders/ge2e.h"
#include "plait/models/encoders/whisper.h"

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

TensorMap whisper_from_ctranslate2(const TensorMap& variables, const std::string& where) {
  // Both sides name a layer's parts; q, k and v are one matrix there, whose k part has a bias of
  // zeros that is dropped.
  const std::pair<const char*, const char*> parts[] = {
      {"self_attention/layer_norm", "self_attn_layer_norm"},
      {"self_attention/linear_1", "self_attn.out_proj"},
      {"ffn/layer_norm", "final_layer_norm"},
      {"ffn/linear_0", "fc1"},
      {"ffn/linear_1", "fc2"}};
  const std::pair<const char*, const char*> ends[] = {
      {"/weight", ".weight"}, {"/bias", ".bias"}, {"/gamma", ".weight"}, {"/beta", ".bias"}};
  TensorMap out;
  auto put = [&](const std::string& name, const at::Tensor& tensor) {
    out[name] = tensor.to(at::kFloat).contiguous();
  };
  auto scaled = [&](const std::string& name, const at::Tensor& tensor) {
    auto scale = variables.find(name + "_scale");
    if (scale == variables.end()) return tensor.to(at::kFloat);
    if (scale->second.numel() != tensor.size(0))
      corrupt(where, name + ": expected one scale per row");
    std::vector<int64_t> per_row(tensor.dim(), 1);
    per_row[0] = tensor.size(0);
    return tensor.to(at::kFloat) / scale->second.to(at::kFloat).view(per_row);
  };
  for (const auto& [name, tensor] : variables) {
    if (!starts_with(name, "encoder/") || name.ends_with("_scale")) continue;
    std::string rest = name.substr(8), stem, end;
    for (const auto& [from, to] : ends) {
      if (rest.ends_with(from))
        stem = rest.substr(0, rest.size() - std::string(from).size()), end = to;
    }
    at::Tensor value = tensor.dim() >= 2 ? scaled(name, tensor) : tensor;
    if (rest == "position_encodings/encodings") {
      put("embed_positions.weight", value);
    } else if (stem == "conv1" || stem == "conv2" || stem == "layer_norm") {
      put(stem + end, value);
    } else if (starts_with(stem, "layer_")) {
      size_t slash = stem.find('/');
      std::string prefix = "layers." + stem.substr(6, slash - 6) + ".",
                  part = stem.substr(slash + 1);
      if (part == "self_attention/linear_0") {
        if (value.dim() == 0 || value.size(0) % 3 != 0)
          corrupt(where, name + ": expected q, k and v in one, got " + describe(value));
        auto qkv = value.chunk(3, 0);
        put(prefix + "self_attn.q_proj" + end, qkv[0]);
        if (end == ".weight") put(prefix + "self_attn.k_proj.weight", qkv[1]);
        put(prefix + "self_attn.v_proj" + end, qkv[2]);
      }
      for (const auto& [from, to] : parts) {
        if (part == from) put(prefix + to + end, value);
      }
    }
  }
  return out;
}

Converted convert_whisper_ct2(const std::string& model_bin_path,
                              const std::string& tokenizer_path) {
  CTranslate2Model model = load_ctranslate2(model_bin_path);
  if (model.spec != "WhisperSpec")
    corrupt(model_bin_path, "expected WhisperSpec, got " + model.spec.substr(0, 40));
  Converted out;
  out.weights = whisper_from_ctranslate2(model.variables, model_bin_path);
  auto shape = [&](const char* name, int64_t dims) -> at::IntArrayRef {
    auto it = out.weights.find(name);
    if (it == out.weights.end() || it->second.dim() != dims)
      corrupt(model_bin_path, std::string("no ") + name);
    return it->second.sizes();
  };
  Whisper::Config config;
  config.num_mel_bins = shape("conv1.weight", 3)[1];
  config.d_model = shape("conv1.weight", 3)[0];
  config.max_source_positions = shape("embed_positions.weight", 2)[0];
  config.encoder_ffn_dim = shape("layers.0.fc1.weight", 2)[0];
  config.encoder_layers = 0;
  while (out.weights.count("layers." + std::to_string(config.encoder_layers) + ".fc1.weight"))
    ++config.encoder_layers;
  auto heads = model.variables.find("encoder/num_heads");
  bool stated = heads != model.variables.end() && heads->second.numel() == 1;
  config.encoder_attention_heads = stated ? heads->second.item<int64_t>() : config.d_model / 64;
  config = read_config<Whisper::Config>(write_config(config), model_bin_path);
  out.config = typed("whisper", config);
  out.processor =
      Json::object({{"type", "whisper"}, {"mels", config.num_mel_bins}, {"pad", "longest"}});
  if (!tokenizer_path.empty())
    out.files["tokenizer.json"] = read_file(tokenizer_path, kMaxTokenizerBytes);
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
  // config.json comes last: with it the folder is complete.
  save_model_folder(dir,
                    Json::object({{"model_type", "plait-encoder"},
                                  {"encoder", converted.config},
                                  {"processor", converted.processor}}),
                    converted.weights);
}

}  // namespace plait::models
