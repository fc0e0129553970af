#include "plait/models/decoders/published_decoders.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <regex>
#include <set>

#include "plait/core/error.h"
#include "plait/core/log.h"
#include "plait/core/weights/model_folder.h"
#include "plait/models/decoders/causal_lm.h"
#include "plait/models/encoders/published_families.h"
#include "plait/models/registry.h"

namespace plait::models {
namespace {

constexpr const char* kUnit = "published";

/// Reads keys of a published config and remembers them, so that the others can be logged.
class Keys {
 public:
  Keys(const Json& json, std::string where) : json_(json), where_(std::move(where)) {}

  /// The value, or the fallback when the key is missing or null.
  template <class T>
  T get(const char* key, T fallback) {
    seen_.insert(key);
    const Json* value = json_.find(key);
    if (!value || value->is_null()) return fallback;
    if constexpr (std::is_same_v<T, bool>) return value->as_bool();
    if constexpr (std::is_same_v<T, int64_t>) return value->as_int();
    if constexpr (std::is_same_v<T, double>) return value->as_double();
    if constexpr (std::is_same_v<T, std::string>) return value->as_string();
    if constexpr (std::is_same_v<T, std::vector<int64_t>>) return value->as_ints();
  }
  const Json* find(const char* key) {
    seen_.insert(key);
    const Json* value = json_.find(key);
    return value && !value->is_null() ? value : nullptr;
  }
  /// The key must be missing, null or this.
  void need(const char* key, const Json& expected) {
    if (const Json* value = find(key); value && !(*value == expected))
      unsupported(where_, key, expected.dump(), *value);
  }
  void log_others() const {
    for (const auto& [key, value] : json_.members()) {
      if (!seen_.count(key))
        log_debug(kUnit, where_ + ": the key \"" + key + "\" has no effect here");
    }
  }
  const std::string& where() const { return where_; }

 private:
  const Json& json_;
  std::string where_;
  std::set<std::string> seen_ = {"model_type"};
};

RotaryOptions read_yarn(Keys& part, RotaryOptions rope, int64_t positions) {
  rope.original_positions = part.get("original_max_position_embeddings", positions);
  if (!part.find("factor"))
    rope.factor = static_cast<double>(positions) / static_cast<double>(rope.original_positions);
  rope.beta_fast = part.get("beta_fast", rope.beta_fast);
  rope.beta_slow = part.get("beta_slow", rope.beta_slow);
  rope.attention_factor = part.get("attention_factor", rope.attention_factor);
  const double over = part.get("mscale", 0.0), under = part.get("mscale_all_dim", 0.0);
  if (rope.attention_factor == 0 && over != 0 && under != 0 && rope.factor > 1) {
    const double log = 0.1 * std::log(rope.factor);
    rope.attention_factor = (log * over + 1) / (log * under + 1);
  }
  part.need("truncate", true);
  return rope;
}

/// "rope_theta" and "rope_scaling", or both as "rope_parameters" since transformers 5.
RotaryOptions read_rotary(Keys& keys) {
  RotaryOptions rope;
  rope.theta = keys.get("rope_theta", rope.theta);
  const Json* older = keys.find("rope_scaling");
  const Json* newer = keys.find("rope_parameters");
  const Json* given = newer ? newer : older;
  if (!given) return rope;
  if (!given->is_object())
    unsupported(keys.where(), newer ? "rope_parameters" : "rope_scaling", "an object", *given);
  Keys part(*given, keys.where() + (newer ? ":rope_parameters" : ":rope_scaling"));
  rope.theta = part.get("rope_theta", rope.theta);
  rope.type = part.get("rope_type", part.get<std::string>("type", "default"));
  rope.factor = part.get("factor", rope.factor);
  rope.low_freq_factor = part.get("low_freq_factor", rope.low_freq_factor);
  rope.high_freq_factor = part.get("high_freq_factor", rope.high_freq_factor);
  rope.original_positions = part.get("original_max_position_embeddings", rope.original_positions);
  part.need("partial_rotary_factor", 1.0);
  if (rope.type == "yarn")
    return read_yarn(part, rope, keys.get<int64_t>("max_position_embeddings", 2048));
  if (rope.type != "default" && rope.type != "linear" && rope.type != "llama3")
    unsupported(part.where(), "rope_type", "default, linear, llama3 or yarn", rope.type);
  return rope;
}

void read_sizes(Keys& keys, CausalLm::Config& c) {
  c.vocab_size = keys.get("vocab_size", c.vocab_size);
  c.hidden_size = keys.get("hidden_size", c.hidden_size);
  c.num_hidden_layers = keys.get("num_hidden_layers", c.num_hidden_layers);
  c.num_attention_heads = keys.get("num_attention_heads", c.num_attention_heads);
  c.num_key_value_heads = keys.get<int64_t>("num_key_value_heads", 0);
  c.head_dim = keys.get("head_dim", c.head_dim);
  c.intermediate_size = keys.get("intermediate_size", c.intermediate_size);
  c.hidden_act = keys.get("hidden_act", c.hidden_act);
  c.norm_eps = keys.get("rms_norm_eps", 1e-6);
  c.max_position_embeddings = keys.get("max_position_embeddings", c.max_position_embeddings);
  c.tie_word_embeddings = keys.get("tie_word_embeddings", false);
  c.rope = read_rotary(keys);
  keys.need("partial_rotary_factor", 1.0);
}

void refuse_windows(Keys& keys, bool switched) {
  if (switched) {
    keys.need("use_sliding_window", false);
    (void)keys.find("sliding_window");
  } else {
    keys.need("sliding_window", nullptr);
  }
  if (const Json* types = keys.find("layer_types")) {
    for (const Json& type : types->items()) {
      if (!(type == Json("full_attention")))
        unsupported(keys.where(), "layer_types", "full_attention", type);
    }
  }
}

CausalLm::Config llama(Keys& keys) {
  CausalLm::Config c;
  c.max_position_embeddings = 2048;
  read_sizes(keys, c);
  refuse_windows(keys, false);
  c.qkv_bias = c.output_bias = keys.get("attention_bias", false);
  c.mlp_bias = keys.get("mlp_bias", false);
  return c;
}

CausalLm::Config qwen2(Keys& keys) {
  CausalLm::Config c;
  c.max_position_embeddings = 32768;
  read_sizes(keys, c);
  refuse_windows(keys, true);
  c.qkv_bias = true;
  return c;
}

CausalLm::Config qwen3(Keys& keys) {
  CausalLm::Config c;
  c.max_position_embeddings = 32768;
  c.head_dim = 128;
  read_sizes(keys, c);
  refuse_windows(keys, true);
  c.qkv_bias = c.output_bias = keys.get("attention_bias", false);
  c.qk_norm = true;
  return c;
}

void read_experts(Keys& keys, CausalLm::Config& c) {
  c.num_experts = keys.get("num_experts", keys.get("num_local_experts", c.num_experts));
  c.num_experts_per_tok = keys.get("num_experts_per_tok", c.num_experts_per_tok);
  c.moe_intermediate_size = keys.get("moe_intermediate_size", c.moe_intermediate_size);
  c.norm_topk_prob = keys.get("norm_topk_prob", false);
  c.decoder_sparse_step = keys.get("decoder_sparse_step", c.decoder_sparse_step);
  c.mlp_only_layers = keys.get("mlp_only_layers", c.mlp_only_layers);
}

CausalLm::Config mixtral(Keys& keys) {
  CausalLm::Config c = llama(keys);
  c.num_experts = keys.get<int64_t>("num_local_experts", 8);
  c.num_experts_per_tok = keys.get<int64_t>("num_experts_per_tok", 2);
  c.moe_intermediate_size = c.intermediate_size;
  return c;
}

CausalLm::Config qwen2_moe(Keys& keys) {
  CausalLm::Config c = qwen2(keys);
  c.qkv_bias = keys.get("qkv_bias", true);
  c.num_experts = 60;
  c.num_experts_per_tok = 4;
  read_experts(keys, c);
  c.shared_expert_intermediate_size = keys.get<int64_t>("shared_expert_intermediate_size", 5632);
  return c;
}

CausalLm::Config qwen3_moe(Keys& keys) {
  CausalLm::Config c = qwen3(keys);
  if (!keys.find("head_dim")) c.head_dim = 0;
  c.num_experts = 128;
  c.num_experts_per_tok = 8;
  c.moe_intermediate_size = 768;
  read_experts(keys, c);
  return c;
}

CausalLm::Config gpt2(Keys& keys) {
  CausalLm::Config c;
  c.vocab_size = keys.get<int64_t>("vocab_size", 50257);
  c.hidden_size = keys.get<int64_t>("n_embd", 768);
  c.num_hidden_layers = keys.get<int64_t>("n_layer", 12);
  c.num_attention_heads = keys.get<int64_t>("n_head", 12);
  c.intermediate_size = keys.get("n_inner", 4 * c.hidden_size);
  c.hidden_act = keys.get<std::string>("activation_function", "gelu_new");
  c.gated = false;
  c.norm = "layer";
  c.norm_eps = keys.get("layer_norm_epsilon", 1e-5);
  c.positions = "learned";
  c.max_position_embeddings = keys.get<int64_t>("n_positions", 1024);
  c.qkv_bias = c.output_bias = c.mlp_bias = true;
  c.tie_word_embeddings = keys.get("tie_word_embeddings", true);
  c.dropout = keys.get("resid_pdrop", 0.1);
  if (keys.get("add_cross_attention", false)) c.cross_attention_size = c.hidden_size;
  keys.need("scale_attn_weights", true);
  keys.need("scale_attn_by_inverse_layer_idx", false);
  return c;
}

using Names = std::vector<std::pair<std::regex, const char*>>;

std::string renamed(std::string name, const Names& names) {
  for (const auto& [pattern, replacement] : names)
    name = std::regex_replace(name, pattern, replacement);
  return name;
}

/// transformers keeps GPT-2's matrices as [in, out], and q, k and v in one of them.
TensorMap gpt2_weights(const TensorMap& weights) {
  static const Names names = {
      {std::regex(R"(^(transformer\.)?(h|wte|wpe|ln_f)\.)"), "model.$2."},
      {std::regex(R"(^model\.h\.)"), "model.layers."},
      {std::regex(R"(^model\.wte\.)"), "model.embed_tokens."},
      {std::regex(R"(^model\.wpe\.)"), "model.embed_positions."},
      {std::regex(R"(^model\.ln_f\.)"), "model.norm."},
      {std::regex(R"(\.ln_1\.)"), ".input_layernorm."},
      {std::regex(R"(\.ln_2\.)"), ".post_attention_layernorm."},
      {std::regex(R"(\.ln_cross_attn\.)"), ".cross_attention_layernorm."},
      {std::regex(R"(\.attn\.c_proj\.)"), ".self_attn.o_proj."},
      {std::regex(R"(\.crossattention\.c_proj\.)"), ".cross_attn.o_proj."},
      {std::regex(R"(\.crossattention\.q_attn\.)"), ".cross_attn.q_proj."},
      {std::regex(R"(\.mlp\.c_fc\.)"), ".mlp.up_proj."},
      {std::regex(R"(\.mlp\.c_proj\.)"), ".mlp.down_proj."},
  };
  static const std::regex buffers(R"(\.(cross)?att(ention|n)\.(masked_)?bias$)");
  static const std::regex matrix(R"(_proj\.weight$)");
  TensorMap out;
  for (const auto& [published, tensor] : weights) {
    if (std::regex_search(published, buffers)) continue;
    std::string name = renamed(published, names);
    const bool self = name.find(".attn.c_attn.") != std::string::npos;
    const bool cross = name.find(".crossattention.c_attn.") != std::string::npos;
    if (self || cross) {
      const int64_t parts = self ? 3 : 2;
      require(tensor.dim() > 0 && tensor.size(-1) % parts == 0, kUnit,
              "expected c_attn to hold matrices of one size");
      const size_t at = name.find(self ? ".attn.c_attn." : ".crossattention.c_attn.");
      const std::string head = name.substr(0, at), tail = name.substr(name.rfind('.'));
      std::vector<at::Tensor> split = tensor.chunk(parts, -1);
      for (int64_t i = 0; i < parts; ++i) {
        const char which = "qkv"[self ? i : i + 1];
        out[head + (self ? ".self_attn." : ".cross_attn.") + which + "_proj" + tail] =
            split[static_cast<size_t>(i)].t();
      }
      continue;
    }
    out[name] = std::regex_search(name, matrix) && tensor.dim() == 2 ? tensor.t() : tensor;
  }
  return out;
}

/// Mixtral's checkpoints have names of their own for the experts.
std::string without_mixtral(const std::string& name) {
  static const Names names = {{std::regex(R"(\.block_sparse_moe\.)"), ".mlp."},
                              {std::regex(R"((\.experts\.\d+\.)w1\.)"), "$1gate_proj."},
                              {std::regex(R"((\.experts\.\d+\.)w2\.)"), "$1down_proj."},
                              {std::regex(R"((\.experts\.\d+\.)w3\.)"), "$1up_proj."}};
  return name.find(".block_sparse_moe.") == std::string::npos ? name : renamed(name, names);
}

/// Names of LlamaForCausalLM, which the families share. Experts in one tensor, as transformers 5
/// holds them in memory, are taken apart.
TensorMap llama_weights(const TensorMap& weights) {
  TensorMap out;
  for (const auto& [published, tensor] : weights) {
    if (published.ends_with("rotary_emb.inv_freq")) continue;
    std::string name = without_mixtral(published);
    if (!name.starts_with("model.") && !name.starts_with("lm_head.")) name = "model." + name;
    const size_t at = name.find(".experts.");
    const std::string tail = at == std::string::npos ? "" : name.substr(at + 9);
    if (tail == "gate_up_proj" || tail == "down_proj") {
      require(tensor.dim() == 3, kUnit, "expected experts as one tensor of three dimensions");
      for (int64_t e = 0; e < tensor.size(0); ++e) {
        const std::string expert = name.substr(0, at + 9) + std::to_string(e) + ".";
        if (tail == "down_proj") {
          out[expert + "down_proj.weight"] = tensor[e];
        } else {
          out[expert + "gate_proj.weight"] = tensor[e].chunk(2, 0)[0];
          out[expert + "up_proj.weight"] = tensor[e].chunk(2, 0).back();
        }
      }
      continue;
    }
    out[name] = tensor;
  }
  return out;
}

const std::map<std::string, CausalLm::Config (*)(Keys&)>& families() {
  static const std::map<std::string, CausalLm::Config (*)(Keys&)> all = {
      {"gpt2", gpt2},   {"llama", llama},         {"mistral", llama},       {"qwen2", qwen2},
      {"qwen3", qwen3}, {"qwen2_moe", qwen2_moe}, {"qwen3_moe", qwen3_moe}, {"mixtral", mixtral},
  };
  return all;
}

}  // namespace

std::vector<std::string> published_decoder_types() {
  std::vector<std::string> names;
  for (const auto& [name, read] : families()) names.push_back(name);
  return names;
}

TranslatedModel translate_published_decoder(const Json& config, const TensorMap& weights,
                                            const std::string& where) {
  const std::string type = config.get("model_type", "");
  auto family = families().find(type);
  if (family == families().end()) {
    std::string known;
    for (const std::string& name : published_decoder_types())
      known += (known.empty() ? "" : ", ") + name;
    fail(ErrorCode::kInvalidArgument, kUnit,
         where + ": model_type: expected one of: " + known + "; got \"" + type + "\"");
  }
  Keys keys(config, where);
  CausalLm::Config read = family->second(keys);
  keys.need("quantization_config", nullptr);
  keys.need("pruned_heads", Json(Json::Object{}));
  keys.log_others();
  read.validate();

  TranslatedModel out;
  out.weights = type == "gpt2" ? gpt2_weights(weights) : llama_weights(weights);
  if (read.tie_word_embeddings) out.weights.erase("lm_head.weight");
  out.config = write_config(read);
  out.config["type"] = "causal_lm";
  return out;
}

LoadedDecoder load_published_decoder(const std::string& dir, c10::ScalarType dtype) {
  ModelFolder folder = ModelFolder::open(dir);
  const std::string where = dir + "/config.json";
  TranslatedModel model = translate_published_decoder(folder.config(), folder.weights(), where);
  LoadedDecoder loaded;
  loaded.decoder = create_as<Decoder>(model.config, where);
  loaded.decoder->to(dtype);
  try {
    loaded.decoder->load_state_dict(model.weights, /*strict=*/true);
  } catch (const Error& error) {
    fail(error.code(), kUnit, dir + ": " + error.what());
  }
  loaded.config = loaded.decoder->config();
  loaded.config["type"] = model.config.at("type");
  return loaded;
}

}  // namespace plait::models
