#include "plait/models/convert/gguf_language.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numbers>
#include <optional>

#include "plait/core/error.h"

namespace plait::models {
namespace {

constexpr const char* kUnit = "gguf";

struct Architecture {
  const char* gguf;
  const char* model_type;
  const char* class_name;
  bool permuted;  ///< llama.cpp reorders the rows of q and k.
};
constexpr Architecture kArchitectures[] = {
    {"llama", "llama", "LlamaForCausalLM", true},
    {"qwen2", "qwen2", "Qwen2ForCausalLM", false},
    {"qwen3", "qwen3", "Qwen3ForCausalLM", false},
};

constexpr std::pair<std::string_view, std::string_view> kOuter[] = {
    {"token_embd", "model.embed_tokens"}, {"output_norm", "model.norm"}, {"output", "lm_head"}};
constexpr std::pair<std::string_view, std::string_view> kInner[] = {
    {"attn_norm", "input_layernorm"},    {"ffn_norm", "post_attention_layernorm"},
    {"attn_q", "self_attn.q_proj"},      {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},      {"attn_output", "self_attn.o_proj"},
    {"attn_q_norm", "self_attn.q_norm"}, {"attn_k_norm", "self_attn.k_norm"},
    {"ffn_gate", "mlp.gate_proj"},       {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
};

const Architecture* architecture_of(const GgufFile& file) {
  const Json* name = file.metadata().find("general.architecture");
  if (!name || !name->is_string()) return nullptr;
  for (const Architecture& a : kArchitectures) {
    if (name->as_string() == a.gguf) return &a;
  }
  return nullptr;
}

const Architecture& known_architecture(const GgufFile& file) {
  if (const Architecture* found = architecture_of(file)) return *found;
  fail(ErrorCode::kUnavailable, kUnit,
       "expected a language model of architecture llama, qwen2 or qwen3, got \"" +
           file.metadata().get("general.architecture", "").substr(0, 40) + "\"");
}

/// The decimal number with the fewest digits that is the same float.
double as_meant(double value) {
  char text[64];
  auto end = std::to_chars(text, text + sizeof text, static_cast<float>(value)).ptr;
  double out = value;
  std::from_chars(text, end, out);
  return out;
}

/// The values below "llama." and the like.
class Keys {
 public:
  Keys(const Json& metadata, const std::string& prefix) : metadata_(metadata), prefix_(prefix) {}

  const Json* find(const std::string& name) const { return metadata_.find(prefix_ + "." + name); }

  int64_t count(const std::string& name) const {
    const Json* value = find(name);
    if (!value) missing(name);
    return count_of(*value, name);
  }
  int64_t count(const std::string& name, int64_t fallback) const {
    const Json* value = find(name);
    return value ? count_of(*value, name) : fallback;
  }
  double number(const std::string& name, std::optional<double> fallback = std::nullopt) const {
    const Json* value = find(name);
    if (!value && fallback) return *fallback;
    if (!value) missing(name);
    if (!value->is_number() || !std::isfinite(value->as_double()))
      fail(ErrorCode::kCorruptData, kUnit, "expected a number as metadata \"" + key(name) + "\"");
    return as_meant(value->as_double());
  }

 private:
  std::string key(const std::string& name) const { return prefix_ + "." + name; }
  [[noreturn]] void missing(const std::string& name) const {
    fail(ErrorCode::kCorruptData, kUnit, "expected metadata \"" + key(name) + "\"");
  }
  int64_t count_of(const Json& value, const std::string& name) const {
    if (value.is_array())
      fail(ErrorCode::kUnavailable, kUnit,
           "expected one number for all layers as metadata \"" + key(name) + "\", got a list");
    if (!value.is_int() || value.as_int() < 1 || value.as_int() > (int64_t{1} << 31))
      fail(ErrorCode::kCorruptData, kUnit,
           "expected a number from 1 to 2^31 as metadata \"" + key(name) + "\"");
    return value.as_int();
  }
  const Json& metadata_;
  std::string prefix_;
};

/// Llama 3.1's scaling: what the published configurations say, which the file keeps only as one
/// factor for each frequency. Found by trying the factors in use.
Json llama3_scaling(const at::Tensor& factors, double theta, int64_t head_dim) {
  int64_t half = head_dim / 2;
  if (factors.numel() != half)
    fail(ErrorCode::kCorruptData, kUnit,
         "tensor \"rope_freqs.weight\": expected " + std::to_string(half) + " values, got " +
             std::to_string(factors.numel()));
  at::Tensor found = factors.reshape({half}).to(at::kDouble);
  constexpr double kLow = 1, kHigh = 4, kLength = 8192;
  double factor = std::round(found.max().item<double>());
  at::Tensor expected = at::empty({half}, at::kDouble);
  auto* values = expected.data_ptr<double>();
  for (int64_t i = 0; i < half; ++i) {
    double wavelength = 2 * std::numbers::pi * std::pow(theta, 2.0 * i / head_dim);
    double smooth = std::clamp((kLength / wavelength - kLow) / (kHigh - kLow), 0.0, 1.0);
    values[i] = 1 / ((1 - smooth) / factor + smooth);
  }
  if (!at::allclose(found, expected, 1e-3, 1e-3))
    fail(ErrorCode::kUnavailable, kUnit,
         "expected the rotary scaling of Llama 3.1 in \"rope_freqs.weight\", got another");
  return Json::object({{"rope_type", "llama3"},
                       {"factor", factor},
                       {"low_freq_factor", kLow},
                       {"high_freq_factor", kHigh},
                       {"original_max_position_embeddings", 8192}});
}

Json scaling_of(const GgufFile& file, const Keys& keys, double theta, int64_t head_dim) {
  if (file.find("rope_freqs.weight"))
    return llama3_scaling(file.load("rope_freqs.weight"), theta, head_dim);
  const Json* type = keys.find("rope.scaling.type");
  if (!type || !type->is_string() || type->as_string() == "none") return nullptr;
  Json out = Json::object(
      {{"rope_type", type->as_string()}, {"factor", keys.number("rope.scaling.factor", 1.0)}});
  if (type->as_string() == "linear") return out;
  if (type->as_string() == "yarn") {
    out["original_max_position_embeddings"] = keys.count("rope.scaling.original_context_length");
    return out;
  }
  fail(ErrorCode::kUnavailable, kUnit,
       "expected rotary scaling none, linear or yarn, got \"" + type->as_string().substr(0, 40) +
           "\"");
}

}  // namespace

bool is_known_gguf(const GgufFile& file) { return architecture_of(file) != nullptr; }

Json gguf_config(const GgufFile& file) {
  const Architecture& architecture = known_architecture(file);
  Keys keys(file.metadata(), architecture.gguf);
  if (const Json* parts = file.metadata().find("split.count");
      parts && parts->is_int() && parts->as_int() > 1)
    fail(ErrorCode::kUnavailable, kUnit, "expected a model in one file, got one of several parts");
  if (keys.count("expert_count", 1) > 1)
    fail(ErrorCode::kUnavailable, kUnit, "expected dense feed-forward layers, got experts");
  const GgufTensor* embedding = file.find("token_embd.weight");
  if (!embedding || embedding->shape.size() != 2)
    fail(ErrorCode::kCorruptData, kUnit, "expected a matrix \"token_embd.weight\"");
  int64_t hidden = keys.count("embedding_length");
  if (embedding->shape[1] != hidden)
    fail(ErrorCode::kCorruptData, kUnit,
         "tensor \"token_embd.weight\": expected rows of " + std::to_string(hidden) + ", got " +
             std::to_string(embedding->shape[1]));
  int64_t heads = keys.count("attention.head_count");
  int64_t head_dim =
      keys.count("attention.key_length",
                 keys.count("rope.dimension_count", std::max<int64_t>(hidden / heads, 1)));
  double theta = keys.number("rope.freq_base", 10000.0);
  bool qkv_bias = file.find("blk.0.attn_q.bias") != nullptr;
  // transformers' Llama has a bias in all four projections or in none, and would make one up.
  if (architecture.permuted && qkv_bias != (file.find("blk.0.attn_output.bias") != nullptr))
    fail(ErrorCode::kUnavailable, kUnit,
         "expected biases in all attention projections or in none, got some");
  Json config = Json::object({
      {"architectures", Json::array({architecture.class_name})},
      {"model_type", architecture.model_type},
      {"vocab_size", embedding->shape[0]},
      {"hidden_size", hidden},
      {"intermediate_size", keys.count("feed_forward_length")},
      {"num_hidden_layers", keys.count("block_count")},
      {"num_attention_heads", heads},
      {"num_key_value_heads", keys.count("attention.head_count_kv", heads)},
      {"head_dim", head_dim},
      {"max_position_embeddings", keys.count("context_length")},
      {"rms_norm_eps", keys.number("attention.layer_norm_rms_epsilon")},
      {"rope_theta", theta},
      {"rope_scaling", scaling_of(file, keys, theta, head_dim)},
      {"hidden_act", "silu"},
      {"tie_word_embeddings", file.find("output.weight") == nullptr},
      {"attention_bias", qkv_bias},
  });
  if (architecture.permuted) config["mlp_bias"] = file.find("blk.0.ffn_gate.bias") != nullptr;
  constexpr std::pair<const char*, const char*> kTokens[] = {
      {"bos", "bos_token_id"}, {"eos", "eos_token_id"}, {"padding", "pad_token_id"}};
  for (const auto& [role, key] : kTokens) {
    const Json* id = file.metadata().find(std::string("tokenizer.ggml.") + role + "_token_id");
    if (id && id->is_int()) config[key] = *id;
  }
  return config;
}

std::string gguf_hugging_face_name(const std::string& name) {
  auto unknown = [&]() {
    fail(
        ErrorCode::kUnavailable, kUnit,
        "expected the tensors of a dense Llama or Qwen model, got \"" + name.substr(0, 100) + "\"");
  };
  if (name == "rope_freqs.weight") return "";
  size_t dot = name.rfind('.');
  if (dot == std::string::npos) unknown();
  std::string kind = name.substr(dot);
  if (kind != ".weight" && kind != ".bias") unknown();
  std::string stem = name.substr(0, dot);
  for (const auto& [from, to] : kOuter) {
    if (stem == from) return std::string(to) + kind;
  }
  if (!stem.starts_with("blk.")) unknown();
  size_t end = stem.find('.', 4);
  std::string layer = end == std::string::npos ? "" : stem.substr(4, end - 4);
  bool digits =
      !layer.empty() && layer.size() < 6 &&
      std::all_of(layer.begin(), layer.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (!digits) unknown();
  std::string part = stem.substr(end + 1);
  for (const auto& [from, to] : kInner) {
    if (part == from) return "model.layers." + layer + "." + std::string(to) + kind;
  }
  unknown();
  return "";
}

at::Tensor load_gguf_for_hugging_face(const GgufFile& file, const std::string& name) {
  const Architecture& architecture = known_architecture(file);
  at::Tensor value = file.load(name);
  bool q = name.find(".attn_q.") != std::string::npos;
  bool k = name.find(".attn_k.") != std::string::npos;
  if (!architecture.permuted || (!q && !k)) return value;
  Keys keys(file.metadata(), architecture.gguf);
  int64_t heads = keys.count("attention.head_count");
  if (k) heads = keys.count("attention.head_count_kv", heads);
  if (value.dim() < 1 || value.size(0) == 0 || value.size(0) % (2 * heads) != 0)
    fail(ErrorCode::kCorruptData, kUnit,
         "tensor \"" + name + "\": expected rows for " + std::to_string(heads) + " heads");
  auto shape = value.sizes().vec();
  std::vector<int64_t> split{heads, shape[0] / heads / 2, 2};
  split.insert(split.end(), shape.begin() + 1, shape.end());
  return value.reshape(split).transpose(1, 2).contiguous().reshape(shape);
}

}  // namespace plait::models
