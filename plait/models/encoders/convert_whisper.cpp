#include <ATen/ATen.h>

#include <filesystem>
#include <functional>

#include "plait/core/config.h"
#include "plait/core/error.h"
#include "plait/core/file.h"
#include "plait/core/weights/ctranslate2.h"
#include "plait/models/decoders/whisper_decoder.h"
#include "plait/models/encoders/convert.h"
#include "plait/models/encoders/whisper.h"

namespace plait::models {
namespace {

constexpr size_t kMaxTokenizerBytes = size_t{64} << 20;

[[noreturn]] void corrupt(const std::string& where, const std::string& what) {
  fail(ErrorCode::kCorruptData, "convert", where + ": " + what);
}

Json typed(const char* type, const Json& fields) {
  Json out = Json::object({{"type", type}});
  for (const auto& [key, value] : fields.members()) out[key] = value;
  return out;
}

/// One side's variables under their names without "encoder/" or "decoder/".
class Side {
 public:
  Side(const TensorMap& variables, std::string prefix, const std::string& where, bool keep_half)
      : variables_(variables), prefix_(std::move(prefix)), where_(where), keep_half_(keep_half) {}

  TensorMap translate() {
    for (const auto& [name, tensor] : variables_) {
      if (!name.starts_with(prefix_) || name.ends_with("_scale")) continue;
      std::string rest = name.substr(prefix_.size());
      if (rest == "position_encodings/encodings") {
        put("embed_positions.weight", scaled(name, tensor));
      } else if (rest == "embeddings/weight") {
        put("embed_tokens.weight", scaled(name, tensor));
      } else {
        part(name, rest, tensor);
      }
    }
    return std::move(out_);
  }

 private:
  void part(const std::string& name, const std::string& rest, const at::Tensor& tensor) {
    static const std::pair<const char*, const char*> ends[] = {
        {"/weight", ".weight"}, {"/bias", ".bias"}, {"/gamma", ".weight"}, {"/beta", ".bias"}};
    std::string stem, end;
    for (const auto& [from, to] : ends) {
      if (rest.ends_with(from))
        stem = rest.substr(0, rest.size() - std::string(from).size()), end = to;
    }
    at::Tensor value = scaled(name, tensor);
    if (stem == "conv1" || stem == "conv2" || stem == "layer_norm") put(stem + end, value);
    if (!stem.starts_with("layer_") || stem == "layer_norm") return;
    const size_t slash = stem.find('/');
    if (slash == std::string::npos) return;
    const std::string layer = "layers." + stem.substr(6, slash - 6) + ".";
    const std::string inner = stem.substr(slash + 1);
    if (inner == "self_attention/linear_0") {
      split(name, layer + "self_attn.", {"q", "k", "v"}, end, value);
    } else if (inner == "attention/linear_1") {
      split(name, layer + "encoder_attn.", {"k", "v"}, end, value);
    }
    static const std::pair<const char*, const char*> parts[] = {
        {"self_attention/layer_norm", "self_attn_layer_norm"},
        {"self_attention/linear_1", "self_attn.out_proj"},
        {"attention/layer_norm", "encoder_attn_layer_norm"},
        {"attention/linear_0", "encoder_attn.q_proj"},
        {"attention/linear_2", "encoder_attn.out_proj"},
        {"ffn/layer_norm", "final_layer_norm"},
        {"ffn/linear_0", "fc1"},
        {"ffn/linear_1", "fc2"}};
    for (const auto& [from, to] : parts) {
      if (inner == from) put(layer + to + end, value);
    }
  }

  /// Matrices that are one there; k has a bias of zeros there, which is dropped.
  void split(const std::string& name, const std::string& block,
             const std::vector<std::string>& letters, const std::string& end,
             const at::Tensor& value) {
    const auto count = static_cast<int64_t>(letters.size());
    if (value.dim() == 0 || value.size(0) % count != 0)
      corrupt(where_, name + ": expected " + std::to_string(count) + " matrices in one, got " +
                          describe(value));
    auto chunks = value.chunk(count, 0);
    for (size_t i = 0; i < letters.size(); ++i) {
      if (letters[i] != "k" || end == ".weight") put(block + letters[i] + "_proj" + end, chunks[i]);
    }
  }

  void put(const std::string& name, const at::Tensor& tensor) {
    const bool half = keep_half_ && tensor.scalar_type() == at::kHalf;
    out_[name] = tensor.to(half ? at::kHalf : at::kFloat).contiguous();
  }

  at::Tensor scaled(const std::string& name, const at::Tensor& tensor) const {
    auto scale = variables_.find(name + "_scale");
    if (tensor.dim() < 2 || scale == variables_.end()) return tensor;
    if (scale->second.numel() != tensor.size(0))
      corrupt(where_, name + ": expected one scale per row");
    std::vector<int64_t> per_row(static_cast<size_t>(tensor.dim()), 1);
    per_row[0] = tensor.size(0);
    return tensor.to(at::kFloat) / scale->second.to(at::kFloat).view(per_row);
  }

  const TensorMap& variables_;
  std::string prefix_;
  const std::string& where_;
  bool keep_half_;
  TensorMap out_;
};

/// Sizes of a matrix or more. @throws Error kCorruptData when it is not there.
at::IntArrayRef shape_of(const TensorMap& weights, const char* name, int64_t dims,
                         const std::string& where) {
  auto it = weights.find(name);
  if (it == weights.end() || it->second.dim() != dims) corrupt(where, std::string("no ") + name);
  return it->second.sizes();
}

int64_t layer_count(const TensorMap& weights) {
  int64_t count = 0;
  while (weights.count("layers." + std::to_string(count) + ".fc1.weight")) ++count;
  return count;
}

int64_t head_count(const TensorMap& variables, const std::string& name, int64_t width) {
  auto heads = variables.find(name);
  const bool stated = heads != variables.end() && heads->second.numel() == 1;
  return stated ? heads->second.item<int64_t>() : width / 64;
}

/// What the config.json beside the model.bin says of decoding, under the names of transformers'
/// generation_config.json.
Json read_generation(const std::string& model_bin_path) {
  const std::filesystem::path path =
      std::filesystem::path(model_bin_path).parent_path() / "config.json";
  Json out = Json::object({});
  if (!std::filesystem::exists(path)) return out;
  const Json given = Json::read(path.string(), 1 << 20);
  const std::pair<const char*, const char*> keys[] = {
      {"alignment_heads", "alignment_heads"},
      {"suppress_ids", "suppress_tokens"},
      {"suppress_ids_begin", "begin_suppress_tokens"}};
  for (const auto& [from, to] : keys) {
    if (const Json* value = given.is_object() ? given.find(from) : nullptr) out[to] = *value;
  }
  return out;
}

}  // namespace

TensorMap whisper_from_ctranslate2(const TensorMap& variables, const std::string& where) {
  return Side(variables, "encoder/", where, /*keep_half=*/false).translate();
}

TensorMap whisper_decoder_from_ctranslate2(const TensorMap& variables, const std::string& where) {
  return Side(variables, "decoder/", where, /*keep_half=*/true).translate();
}

Converted convert_whisper_ct2(const std::string& model_bin_path,
                              const std::string& tokenizer_path) {
  CTranslate2Model model = load_ctranslate2(model_bin_path);
  if (model.spec != "WhisperSpec")
    corrupt(model_bin_path, "expected WhisperSpec, got " + model.spec.substr(0, 40));
  Converted out;
  out.weights = whisper_from_ctranslate2(model.variables, model_bin_path);
  auto shape = [&](const char* name, int64_t dims) {
    return shape_of(out.weights, name, dims, model_bin_path);
  };
  Whisper::Config config;
  config.num_mel_bins = shape("conv1.weight", 3)[1];
  config.d_model = shape("conv1.weight", 3)[0];
  config.max_source_positions = shape("embed_positions.weight", 2)[0];
  config.encoder_ffn_dim = shape("layers.0.fc1.weight", 2)[0];
  config.encoder_layers = layer_count(out.weights);
  config.encoder_attention_heads = head_count(model.variables, "encoder/num_heads", config.d_model);
  config = read_config<Whisper::Config>(write_config(config), model_bin_path);
  out.config = typed("whisper", write_config(config));
  out.processor =
      Json::object({{"type", "whisper"}, {"mels", config.num_mel_bins}, {"pad", "longest"}});
  if (!tokenizer_path.empty())
    out.files["tokenizer.json"] = read_file(tokenizer_path, kMaxTokenizerBytes);
  if (!model.variables.count("decoder/embeddings/weight")) return out;

  out.decoder_weights = whisper_decoder_from_ctranslate2(model.variables, model_bin_path);
  auto decoder_shape = [&](const char* name) {
    return shape_of(out.decoder_weights, name, 2, model_bin_path);
  };
  WhisperDecoder::Config decoder;
  decoder.vocab_size = decoder_shape("embed_tokens.weight")[0];
  decoder.d_model = decoder_shape("embed_tokens.weight")[1];
  decoder.max_target_positions = decoder_shape("embed_positions.weight")[0];
  decoder.decoder_ffn_dim = decoder_shape("layers.0.fc1.weight")[0];
  decoder.decoder_layers = layer_count(out.decoder_weights);
  decoder.decoder_attention_heads =
      head_count(model.variables, "decoder/num_heads", decoder.d_model);
  decoder = read_config<WhisperDecoder::Config>(write_config(decoder), model_bin_path);
  out.decoder = typed("whisper_decoder", write_config(decoder));
  out.generation = read_generation(model_bin_path);
  return out;
}

}  // namespace plait::models
