#pragma once
#include "plait/models/fusion/fusion.h"
#include "plait/models/layers/layers.h"

/// What fusion layers share: checking and cleaning their inputs, and attention blocks laid out as
/// torch.nn's.
namespace plait::models {

/// A FusionInput checked against a config, with nothing of the absent streams left in it.
struct Streams {
  at::Tensor features;  ///< [B, M, D], zeros where absent
  at::Tensor present;   ///< [B, M] bool
  at::Tensor quality;   ///< [B, M] float32 in [0, 1], ones where absent or not given
};
/// @throws Error kInvalidArgument for a wrong shape or (on the CPU) an item without any stream.
Streams clean_streams(const FusionInput& in, int64_t streams, int64_t width, const char* unit);
/// The same check for `present` alone.
at::Tensor checked_presence(const at::Tensor& present, int64_t batch, int64_t streams,
                            const char* unit);

/// Each stream's pooled feature as one token, followed by the given tokens: every present stream
/// has at least one.
struct StreamTokens {
  at::Tensor x;            ///< [B, S, D], zeros where masked
  at::Tensor stream;       ///< [S] int64
  at::Tensor mask;         ///< [B, S] bool
  at::Tensor reliability;  ///< [B, S] quality of the token's stream
};
StreamTokens gather_tokens(const FusionInput& in, const Streams& streams, const char* unit);

/// Sums [B, S] over the tokens of each stream → [B, M].
at::Tensor sum_by_stream(const at::Tensor& per_token, const at::Tensor& stream, int64_t streams);
/// Mean of [B, S, D] over the real tokens of each stream → [B, M, D]; zeros for a stream without
/// any.
at::Tensor mean_by_stream(const StreamTokens& tokens, const at::Tensor& x, int64_t streams);

/// torch.nn.MultiheadAttention (batch first) with its parameter names.
class MultiheadAttention : public Module {
 public:
  MultiheadAttention(int64_t width, int64_t heads);
  /// Fused kernel. `bias` is additive and finite, broadcastable to [B, H, T, S]; may be undefined.
  at::Tensor operator()(const at::Tensor& query, const at::Tensor& key_value,
                        const at::Tensor& bias) const;
  /// The same with the attention mass that each key received, averaged over heads and queries: [B,
  /// S].
  std::pair<at::Tensor, at::Tensor> with_mass(const at::Tensor& query, const at::Tensor& key_value,
                                              const at::Tensor& bias) const;
  void reset_parameters(at::Generator& generator) override;

 private:
  struct Projected {
    at::Tensor q, k, v;
  };
  Projected project(const at::Tensor& query, const at::Tensor& key_value) const;
  int64_t heads_;
  at::Tensor in_proj_weight_, in_proj_bias_;
  std::shared_ptr<Linear> out_proj_;
};

/// torch.nn.TransformerEncoderLayer (pre-norm, GELU, batch first) with its parameter names.
class TransformerLayer : public Module {
 public:
  TransformerLayer(int64_t width, int64_t heads, int64_t hidden, double dropout);
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& bias) const;
  /// The first token's output alone [B, 1, D], at less cost.
  at::Tensor first(const at::Tensor& x, const at::Tensor& bias = {}) const;

 private:
  std::shared_ptr<MultiheadAttention> self_attn_;
  std::shared_ptr<Linear> linear1_, linear2_;
  std::shared_ptr<LayerNorm> norm1_, norm2_;
  std::shared_ptr<Dropout> dropout_;
};

}  // namespace plait::models
