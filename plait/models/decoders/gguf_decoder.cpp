#include "plait/models/decoders/gguf_decoder.h"

#include <ATen/ATen.h>

#include <filesystem>

#include "plait/core/error.h"
#include "plait/core/file.h"
#include "plait/core/weights/model_folder.h"
#include "plait/data/text/gguf_tokenizer.h"

namespace plait::models {
namespace {

constexpr const char* kUnit = "gguf";

/// llama.cpp stores q and k so that pairs of neighbours rotate; transformers rotates halves.
at::Tensor halves_from_pairs(const at::Tensor& weight, int64_t heads) {
  std::vector<int64_t> shape = weight.sizes().vec(), split = {heads, shape[0] / heads / 2, 2};
  split.insert(split.end(), shape.begin() + 1, shape.end());
  return weight.reshape(split).transpose(1, 2).reshape(shape);
}

/// "blk.3.attn_q.weight" → "model.layers.3.self_attn.q_proj.weight"; "" when it has no place.
std::string published_name(const std::string& name) {
  static const std::map<std::string, std::string> outside = {
      {"token_embd", "model.embed_tokens"}, {"output_norm", "model.norm"}, {"output", "lm_head"}};
  static const std::map<std::string, std::string> inside = {
      {"attn_norm", "input_layernorm"},    {"ffn_norm", "post_attention_layernorm"},
      {"attn_q", "self_attn.q_proj"},      {"attn_k", "self_attn.k_proj"},
      {"attn_v", "self_attn.v_proj"},      {"attn_output", "self_attn.o_proj"},
      {"attn_q_norm", "self_attn.q_norm"}, {"attn_k_norm", "self_attn.k_norm"},
      {"ffn_gate", "mlp.gate_proj"},       {"ffn_up", "mlp.up_proj"},
      {"ffn_down", "mlp.down_proj"},
  };
  const size_t last = name.rfind('.');
  if (last == std::string::npos) return "";
  const std::string kind = name.substr(last), stem = name.substr(0, last);
  if (kind != ".weight" && kind != ".bias") return "";
  if (auto it = outside.find(stem); it != outside.end()) return it->second + kind;
  const size_t dot = stem.find('.', 4);
  if (!stem.starts_with("blk.") || dot == std::string::npos) return "";
  auto it = inside.find(stem.substr(dot + 1));
  if (it == inside.end()) return "";
  return "model.layers." + stem.substr(4, dot - 4) + "." + it->second + kind;
}

}  // namespace

DecoderFolder folder_from_gguf(const GgufFile& file, const std::string& where) {
  const Json& meta = file.metadata();
  const std::string kind = meta.get("general.architecture", "");
  if (kind != "llama" && kind != "qwen2" && kind != "qwen3") {
    fail(ErrorCode::kUnavailable, kUnit,
         where + ": expected architecture llama, qwen2 or qwen3, got \"" + kind.substr(0, 40) +
             "\"");
  }
  auto key = [&](const char* name) -> const Json& {
    const Json* value = meta.find(kind + "." + name);
    if (!value)
      fail(ErrorCode::kCorruptData, kUnit, where + ": expected the key " + kind + "." + name);
    return *value;
  };
  const Json* scaling = meta.find(kind + ".rope.scaling.type");
  if (scaling && !(*scaling == Json("none"))) {
    fail(ErrorCode::kUnavailable, kUnit,
         where + ": expected no stretch of rotary positions, got " + scaling->dump().substr(0, 40));
  }

  DecoderFolder out;
  const int64_t heads = key("attention.head_count").as_int();
  const Json* groups_key = meta.find(kind + ".attention.head_count_kv");
  const int64_t groups = groups_key ? groups_key->as_int() : heads;
  const int64_t width = key("embedding_length").as_int();
  if (heads < 1 || groups < 1 || width < 1)
    fail(ErrorCode::kCorruptData, kUnit, where + ": expected at least one head");
  for (const GgufTensor& tensor : file.tensors()) {
    const std::string name = published_name(tensor.name);
    if (name.empty()) {
      fail(ErrorCode::kUnavailable, kUnit,
           where + ": the tensor " + tensor.name.substr(0, 80) + " has no place in " + kind);
    }
    at::Tensor value = file.load(tensor.name);
    const bool q = name.find(".q_proj.") != std::string::npos,
               k = name.find(".k_proj.") != std::string::npos;
    if (kind == "llama" && (q || k)) {
      const int64_t share = q ? heads : groups;
      if (value.dim() < 1 || value.size(0) % (2 * share) != 0)
        fail(ErrorCode::kCorruptData, kUnit,
             where + ": expected " + tensor.name + " of whole heads");
      value = halves_from_pairs(value, share);
    }
    out.weights[name] = value;
  }
  const at::Tensor words = get(out.weights, "model.embed_tokens.weight", kUnit);
  require(words.dim() == 2, kUnit, "expected token_embd.weight to be a matrix");

  auto integer = [&](const char* name, int64_t fallback) {
    const Json* value = meta.find(kind + "." + name);
    return value ? value->as_int() : fallback;
  };
  out.config = Json::object({{"model_type", kind},
                             {"vocab_size", words.size(0)},
                             {"hidden_size", width},
                             {"num_hidden_layers", key("block_count").as_int()},
                             {"num_attention_heads", heads},
                             {"num_key_value_heads", groups},
                             {"head_dim", integer("attention.key_length", width / heads)},
                             {"intermediate_size", key("feed_forward_length").as_int()},
                             {"hidden_act", "silu"},
                             {"rms_norm_eps", key("attention.layer_norm_rms_epsilon").as_double()},
                             {"rope_theta", meta.get(kind + ".rope.freq_base", 10000.0)},
                             {"max_position_embeddings", key("context_length").as_int()},
                             {"tie_word_embeddings", out.weights.count("lm_head.weight") == 0}});
  Json generation = Json::object({});
  for (const char* which : {"bos", "eos"}) {
    const Json* id = meta.find(std::string("tokenizer.ggml.") + which + "_token_id");
    if (!id) continue;
    out.config[std::string(which) + "_token_id"] = *id;
    generation[std::string(which) + "_token_id"] = *id;
  }
  out.files["generation_config.json"] = generation.dump(2);
  out.files["tokenizer.json"] = data::tokenizer_json_from_gguf(meta).dump();
  out.files["tokenizer_config.json"] = data::tokenizer_config_from_gguf(meta).dump(2);
  return out;
}

void save_decoder_folder(const std::string& dir, const DecoderFolder& folder) {
  std::filesystem::create_directories(dir);
  for (const auto& [name, text] : folder.files)
    write_file_atomic((std::filesystem::path(dir) / name).string(), text);
  TensorMap weights;
  for (const auto& [name, tensor] : folder.weights) weights[name] = tensor.contiguous();
  save_model_folder(dir, folder.config, weights);
}

}  // namespace plait::models
