#pragma once
#include <string>
#include <utility>
#include <vector>

#include "plait/core/json.h"
#include "plait/core/weights/gguf.h"

/// GGUF files of language models → Hugging Face's terms: general.architecture "llama" (Llama,
/// SmolLM2, TinyLlama, Mistral …, and Mixtral where it has experts), "qwen2", "qwen3", "qwen2moe",
/// "qwen3moe" and "gpt2".
namespace plait::models {

/// True when `gguf_config` knows the file's general.architecture.
bool is_known_gguf(const GgufFile& file);

/// config.json as transformers writes it (model_type, hidden_size, num_attention_heads,
/// num_key_value_heads, head_dim, rope_theta, rms_norm_eps, vocab_size, tie_word_embeddings …).
/// Numbers that the file has as fp32 are rounded to what was meant (1e-5, not 9.99999975e-6).
/// @throws Error kUnavailable for another architecture and for rotary scaling that cannot be told
/// from the file; kCorruptData naming the key that is missing or wrong.
Json gguf_config(const GgufFile& file);

/// The tensor `name` in fp32 under the names that the published checkpoints have:
/// "blk.3.attn_q.weight" as "model.layers.3.self_attn.q_proj.weight", the experts of a layer one by
/// one, GPT-2's matrices turned back to [in, out]; nothing for a tensor that transformers computes
/// itself (rope_freqs.weight). For "llama" the rows of q and k come back from llama.cpp's order
/// (rotary pairs side by side) to halves. @throws Error kUnavailable for an unknown name; as
/// GgufFile::load; kCorruptData when a shape does not fit.
std::vector<std::pair<std::string, at::Tensor>> gguf_hugging_face_tensors(const GgufFile& file,
                                                                          const std::string& name);

}  // namespace plait::models
