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
constexpr int64_t kMostLayers = 100000;

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
    {"qwen2moe", "qwen2_moe", "Qwen2MoeForCausalLM", false},
    {"qwen3moe", "qwen3_moe", "Qwen3MoeForCausalLM", false},
    {"gpt2", "gpt2", "GPT2LMHeadModel", false},
};
/// What "llama" is with experts.
constexpr Architecture kMixtral = {"llama", "mixtral", "MixtralForCausalLM", true};

constexpr std::pair<std::string_view, std::string_view> kOuter[] = {
    {"token_embd", "model.embed_tokens"}, {"output_norm", "model.norm"}, {"output", "lm_head"}};
constexpr std::pair<std::string_view, std::string_view> kInner[] = {
    {"attn_norm", "input_layernorm"},
    {"ffn_norm", "post_attention_layernorm"},
    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},
    {"attn_output", "self_attn.o_proj"},
    {"attn_q_norm", "self_attn.q_norm"},
    {"attn_k_norm", "self_attn.k_norm"},
    {"ffn_gate", "mlp.gate_proj"},
    {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
    {"ffn_gate_inp", "mlp.gate"},
    {"ffn_gate_inp_shexp", "mlp.shared_expert_gate"},
    {"ffn_gate_shexp", "mlp.shared_expert.gate_proj"},
    {"ffn_up_shexp", "mlp.shared_expert.up_proj"},
    {"ffn_down_shexp", "mlp.shared_expert.down_proj"},
};
/// All experts of a layer in one tensor; their names, and those in Mixtral's checkpoints.
struct ExpertName {
  std::string_view gguf, usual, mixtral;
};
constexpr ExpertName kExperts[] = {{"ffn_gate_exps", "gate_proj", "w1"},
                                   {"ffn_up_exps", "up_proj", "w3"},
                                   {"ffn_down_exps", "down_proj", "w2"}};
constexpr std::pair<std::string_view, std::string_view> kGpt2Outer[] = {
    {"token_embd", "transformer.wte"},
    {"position_embd", "transformer.wpe"},
    {"output_norm", "transformer.ln_f"},
    {"output", "lm_head"}};
/// The matrices among them lie transposed in GPT-2's checkpoints.
constexpr std::pair<std::string_view, std::string_view> kGpt2Inner[] = {
    {"attn_norm", "ln_1"}, {"attn_qkv", "attn.c_attn"}, {"attn_output", "attn.c_proj"},
    {"ffn_norm", "ln_2"},  {"ffn_up", "mlp.c_fc"},      {"ffn_down", "mlp.c_proj"}};

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
       "expected a language model of architecture llama, qwen2, qwen3, qwen2moe, qwen3moe or gpt2, "
       "got \"" +
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

constexpr std::pair<const char*, const char*> kYarn[] = {
    {"rope.scaling.yarn_beta_fast", "beta_fast"}, {"rope.scaling.yarn_beta_slow", "beta_slow"}};

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
    for (const auto& [from, to] : kYarn) {
      if (keys.find(from)) out[to] = keys.number(from);
    }
    return out;
  }
  fail(ErrorCode::kUnavailable, kUnit,
       "expected rotary scaling none, linear or yarn, got \"" + type->as_string().substr(0, 40) +
           "\"");
}

/// 0 for dense layers.
int64_t expert_count(const Keys& keys) {
  const Json* given = keys.find("expert_count");
  if (!given || (given->is_int() && given->as_int() == 0)) return 0;
  return keys.count("expert_count");
}

/// Sizes of the experts as the tensors have them; feed_forward_length may be that of dense layers.
void add_experts(const GgufFile& file, const Keys& keys, const Architecture& architecture,
                 int64_t experts, Json& config) {
  const int64_t layers = keys.count("block_count");
  const GgufTensor* gate = nullptr;
  const GgufTensor* shared = nullptr;
  Json dense = Json::array();
  for (int64_t i = 0; i < std::min<int64_t>(layers, kMostLayers); ++i) {
    const std::string layer = "blk." + std::to_string(i) + ".";
    const GgufTensor* here = file.find(layer + "ffn_gate_exps.weight");
    if (!here) dense.push_back(i);
    if (here && !gate) gate = here;
    if (!shared) shared = file.find(layer + "ffn_gate_shexp.weight");
  }
  if (!gate || gate->shape.size() != 3 || gate->shape[0] != experts ||
      (shared && shared->shape.size() != 2))
    fail(ErrorCode::kCorruptData, kUnit,
         "expected tensors ffn_gate_exps.weight of " + std::to_string(experts) + " experts");
  const bool mixtral = &architecture == &kMixtral;
  if (mixtral && dense.size() > 0)
    fail(ErrorCode::kUnavailable, kUnit, "expected experts in every layer, got some without");
  config[mixtral ? "num_local_experts" : "num_experts"] = experts;
  config["num_experts_per_tok"] = keys.count("expert_used_count");
  config[mixtral ? "intermediate_size" : "moe_intermediate_size"] = gate->shape[1];
  if (mixtral) return;
  config["decoder_sparse_step"] = 1;
  config["mlp_only_layers"] = dense;
  // The file does not say; the published models of either family agree.
  config["norm_topk_prob"] = config.at("model_type").as_string() == "qwen3_moe";
  if (shared) config["shared_expert_intermediate_size"] = shared->shape[0];
}

Json gpt2_config(const GgufFile& file, const Keys& keys, const GgufTensor& embedding) {
  const int64_t hidden = keys.count("embedding_length");
  return Json::object({
      {"architectures", Json::array({"GPT2LMHeadModel"})},
      {"model_type", "gpt2"},
      {"vocab_size", embedding.shape[0]},
      {"n_embd", hidden},
      {"n_layer", keys.count("block_count")},
      {"n_head", keys.count("attention.head_count")},
      {"n_positions", keys.count("context_length")},
      {"n_inner", keys.count("feed_forward_length", 4 * hidden)},
      {"layer_norm_epsilon", keys.number("attention.layer_norm_epsilon")},
      {"activation_function", "gelu_new"},
      {"tie_word_embeddings", file.find("output.weight") == nullptr},
  });
}

void add_special_tokens(const GgufFile& file, Json& config) {
  constexpr std::pair<const char*, const char*> kTokens[] = {
      {"bos", "bos_token_id"}, {"eos", "eos_token_id"}, {"padding", "pad_token_id"}};
  for (const auto& [role, key] : kTokens) {
    const Json* id = file.metadata().find(std::string("tokenizer.ggml.") + role + "_token_id");
    if (id && id->is_int()) config[key] = *id;
  }
}

/// "blk.3.attn_q.weight" taken apart; no layer: "output_norm.weight".
struct Place {
  std::string layer, part, kind;
};

[[noreturn]] void unknown_tensor(const std::string& name) {
  fail(ErrorCode::kUnavailable, kUnit,
       "expected the tensors of a language model of its architecture, got \"" +
           name.substr(0, 100) + "\"");
}

Place place_of(const std::string& name) {
  const size_t dot = name.rfind('.');
  if (dot == std::string::npos) unknown_tensor(name);
  Place out{"", name.substr(0, dot), name.substr(dot)};
  if (out.kind != ".weight" && out.kind != ".bias") unknown_tensor(name);
  if (!out.part.starts_with("blk.")) return out;
  const size_t end = out.part.find('.', 4);
  if (end == std::string::npos) unknown_tensor(name);
  out.layer = out.part.substr(4, end - 4);
  out.part = out.part.substr(end + 1);
  const bool digits = !out.layer.empty() && out.layer.size() < 6 &&
                      out.layer.find_first_not_of("0123456789") == std::string::npos;
  if (!digits) unknown_tensor(name);
  return out;
}

template <size_t N>
std::string published(const std::pair<std::string_view, std::string_view> (&table)[N],
                      const Place& place, const std::string& name) {
  for (const auto& [from, to] : table) {
    if (place.part == from) return std::string(to) + place.kind;
  }
  unknown_tensor(name);
}

/// The tensor, with the rows of q and k in halves.
at::Tensor halves(const GgufFile& file, const Architecture& architecture, const Keys& keys,
                  const std::string& name) {
  at::Tensor value = file.load(name);
  bool q = name.find(".attn_q.") != std::string::npos;
  bool k = name.find(".attn_k.") != std::string::npos;
  if (!architecture.permuted || (!q && !k)) return value;
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

}  // namespace

bool is_known_gguf(const GgufFile& file) { return architecture_of(file) != nullptr; }

Json gguf_config(const GgufFile& file) {
  const Architecture& known = known_architecture(file);
  Keys keys(file.metadata(), known.gguf);
  if (const Json* parts = file.metadata().find("split.count");
      parts && parts->is_int() && parts->as_int() > 1)
    fail(ErrorCode::kUnavailable, kUnit, "expected a model in one file, got one of several parts");
  const int64_t experts = expert_count(keys);
  const Architecture& architecture = experts > 0 && &known == &kArchitectures[0] ? kMixtral : known;
  const GgufTensor* embedding = file.find("token_embd.weight");
  if (!embedding || embedding->shape.size() != 2)
    fail(ErrorCode::kCorruptData, kUnit, "expected a matrix \"token_embd.weight\"");
  int64_t hidden = keys.count("embedding_length");
  if (embedding->shape[1] != hidden)
    fail(ErrorCode::kCorruptData, kUnit,
         "tensor \"token_embd.weight\": expected rows of " + std::to_string(hidden) + ", got " +
             std::to_string(embedding->shape[1]));
  if (std::string_view(known.gguf) == "gpt2") {
    Json config = gpt2_config(file, keys, *embedding);
    add_special_tokens(file, config);
    return config;
  }
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
      {"intermediate_size",
       experts > 0 ? keys.count("feed_forward_length", 1) : keys.count("feed_forward_length")},
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
  if (experts > 0) add_experts(file, keys, architecture, experts, config);
  add_special_tokens(file, config);
  return config;
}

std::vector<std::pair<std::string, at::Tensor>> gguf_hugging_face_tensors(const GgufFile& file,
                                                                          const std::string& name) {
  const Architecture& architecture = known_architecture(file);
  if (name == "rope_freqs.weight") return {};
  const Place place = place_of(name);
  const Keys keys(file.metadata(), architecture.gguf);
  if (std::string_view(architecture.gguf) == "gpt2") {
    at::Tensor value = file.load(name);
    if (place.layer.empty()) return {{published(kGpt2Outer, place, name), value}};
    const std::string to = published(kGpt2Inner, place, name);
    const bool matrix = to.find(".c_") != std::string::npos && value.dim() == 2;
    return {{"transformer.h." + place.layer + "." + to, matrix ? value.t().contiguous() : value}};
  }
  if (place.layer.empty()) return {{published(kOuter, place, name), file.load(name)}};
  const std::string layer = "model.layers." + place.layer + ".";
  const int64_t experts = expert_count(keys);
  const bool mixtral = experts > 0 && architecture.permuted;
  for (const ExpertName& expert : kExperts) {
    if (place.part != expert.gguf || place.kind != ".weight") continue;
    at::Tensor value = file.load(name);
    if (value.dim() != 3 || value.size(0) != experts)
      fail(ErrorCode::kCorruptData, kUnit,
           "tensor \"" + name + "\": expected " + std::to_string(experts) + " experts");
    std::vector<std::pair<std::string, at::Tensor>> out;
    for (int64_t e = 0; e < experts; ++e) {
      out.emplace_back(layer + (mixtral ? "block_sparse_moe" : "mlp") + ".experts." +
                           std::to_string(e) + "." +
                           std::string(mixtral ? expert.mixtral : expert.usual) + ".weight",
                       value[e]);
    }
    return out;
  }
  std::string to = published(kInner, place, name);
  if (mixtral && place.part == "ffn_gate_inp") to = "block_sparse_moe.gate.weight";
  at::Tensor value = halves(file, architecture, keys, name);
  if (place.part == "ffn_gate_inp_shexp") value = value.reshape({1, -1});
  return {{layer + to, value}};
}

}  // namespace plait::models
