#pragma once
#include <string>

#include "plait/core/json.h"
#include "plait/core/weights/gguf.h"

/// GGUF files of language models → Hugging Face's terms. The Llama family: general.architecture
/// "llama" (Llama, SmolLM2, TinyLlama, Mistral …), "qwen2" and "qwen3", dense feed-forward.
namespace plait::models {

/// True when `gguf_config` knows the file's general.architecture.
bool is_known_gguf(const GgufFile& file);

/// config.json as transformers writes it (model_type, hidden_size, num_attention_heads,
/// num_key_value_heads, head_dim, rope_theta, rms_norm_eps, vocab_size, tie_word_embeddings …).
/// Numbers that the file has as fp32 are rounded to what was meant (1e-5, not 9.99999975e-6).
/// @throws Error kUnavailable for another architecture, mixtures of experts, and rotary scaling
/// that cannot be told from the file; kCorruptData naming the key that is missing or wrong.
Json gguf_config(const GgufFile& file);

/// "blk.3.attn_q.weight" → "model.layers.3.self_attn.q_proj.weight"; "" for a tensor that
/// transformers computes itself (rope_freqs.weight). @throws Error kUnavailable for an unknown
/// name.
std::string gguf_hugging_face_name(const std::string& name);

/// The tensor in fp32 as transformers has it: for "llama" the rows of q and k come back from
/// llama.cpp's order (rotary pairs side by side) to halves. @throws Error as GgufFile::load;
/// kCorruptData when its rows do not divide by the heads.
at::Tensor load_gguf_for_hugging_face(const GgufFile& file, const std::string& name);

}  // namespace plait::models
