#pragma once
#include <memory>
#include <string>
#include <vector>

#include "plait/core/config.h"
#include "plait/models/decoders/decoder.h"
#include "plait/models/decoders/rotary.h"
#include "plait/models/layers/layers.h"

namespace plait::models {

class CausalLayers;

/// A decoder-only Transformer. By its switches it is GPT-2 and GPT-3 (Radford et al. 2019; Brown et
/// al. 2020, https://arxiv.org/abs/2005.14165): learned positions, LayerNorm, biases; Llama and
/// SmolLM2 (Touvron et al. 2023, https://arxiv.org/abs/2302.13971): RMSNorm, rotary positions,
/// grouped key/value heads, gated feed-forward; Qwen2 (https://arxiv.org/abs/2407.10671): biases on
/// q, k, v; Qwen3 (https://arxiv.org/abs/2505.09388): normalised q and k; or a mixture of experts
/// as Qwen2-MoE (with a shared expert) and Qwen3-MoE. Weight names are those of transformers'
/// LlamaForCausalLM. forward gives last_hidden_state [B, T, D], logits [B, T, vocabulary] and mask
/// [B, T] where one was given.
class CausalLm : public Decoder {
 public:
  struct Config {
    int64_t vocab_size = 49152;
    int64_t hidden_size = 576;
    int64_t num_hidden_layers = 30;
    int64_t num_attention_heads = 9;
    int64_t num_key_value_heads = 0;  ///< 0: as many as attention heads
    int64_t head_dim = 0;             ///< 0: hidden_size / num_attention_heads
    int64_t intermediate_size = 1536;
    std::string hidden_act = "silu";
    bool gated = true;
    std::string norm = "rms";
    double norm_eps = 1e-5;
    std::string positions = "rotary";
    int64_t max_position_embeddings = 8192;
    RotaryOptions rope;
    bool qkv_bias = false;
    bool output_bias = false;
    bool mlp_bias = false;
    bool qk_norm = false;
    bool tie_word_embeddings = true;
    double dropout = 0;
    int64_t cross_attention_size = 0;  ///< Width of the encoder's tokens; 0: no cross-attention
    int64_t num_experts = 0;           ///< 0: dense
    int64_t num_experts_per_tok = 2;
    int64_t moe_intermediate_size = 1408;
    int64_t shared_expert_intermediate_size = 0;  ///< 0: no shared expert
    bool norm_topk_prob = true;
    int64_t decoder_sparse_step = 1;
    std::vector<int64_t> mlp_only_layers;

    void visit(ConfigVisitor& v);
    static Config tiny();
    void validate() const;
    int64_t key_value_heads() const {
      return num_key_value_heads > 0 ? num_key_value_heads : num_attention_heads;
    }
    int64_t head_width() const {
      return head_dim > 0 ? head_dim : hidden_size / num_attention_heads;
    }
    /// Whether layer i has experts.
    bool sparse(int64_t layer) const;
  };

  explicit CausalLm(Config config);
  Json config() const override { return write_config(config_); }

  at::Tensor hidden_states(const TensorMap& inputs, KvCache* cache = nullptr) const override;
  at::Tensor word_logits(const at::Tensor& hidden) const override;
  KvCache make_cache(int64_t batch, int64_t capacity) const override;
  at::Tensor embed(const at::Tensor& ids) const override;
  at::Device device() const override;
  int64_t vocab_size() const override { return config_.vocab_size; }
  int64_t width() const override { return config_.hidden_size; }
  int64_t max_length() const override { return config_.max_position_embeddings; }

 private:
  Config config_;
  std::shared_ptr<CausalLayers> model_;
  std::shared_ptr<Linear> head_;
};

}  // namespace plait::models
