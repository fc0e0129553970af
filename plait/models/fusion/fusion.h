#pragma once
#include "plait/models/model.h"

namespace plait::models {

/// What a fusion layer may look at; M streams in the order of the model's config, all projected to
/// one width D.
struct FusionInput {
  at::Tensor
      features;  ///< [B, M, D] pooled feature of each stream; rows of absent streams are ignored
  at::Tensor present;       ///< [B, M] bool; at least one per row
  at::Tensor quality;       ///< [B, M] in [0, 1]
  at::Tensor tokens;        ///< [B, T, D] all streams' tokens, concatenated; may be undefined
  at::Tensor token_stream;  ///< [T] int64, the stream of each token
  at::Tensor token_mask;    ///< [B, T] bool, false for padding and absent streams
  at::Tensor logits;        ///< [B, M, K] of each stream's own expert; may be undefined
  at::Tensor
      task;  ///< [B] or [] int64, index of the task that the gate serves; may be undefined (task 0)
};

struct FusionOutput {
  at::Tensor fused;      ///< [B, D]; undefined for fusions of experts' decisions
  at::Tensor weights;    ///< [B, M]; 0 where absent, sums to 1 over present streams
  at::Tensor logits;     ///< [B, K]; only from fusions of experts' decisions
  at::Tensor auxiliary;  ///< [B] extra training loss per item, weighted already (a gate's entropy
                         ///< term); undefined when none
};

/// Combines streams; differentiable, batched, masked for missing inputs (the values of an absent
/// stream, NaN included, never reach an output).
class Fusion : public Model {
 public:
  virtual FusionOutput fuse(const FusionInput& in) = 0;
  /// True when `fuse` works on the experts' logits and gives logits.
  virtual bool fuses_decisions() const { return false; }
  /// True when `fuse` needs tokens.
  virtual bool needs_tokens() const { return false; }
  /// The same by name: features, present, quality, tokens, token_stream, token_mask, logits, task →
  /// fused, weights, logits, auxiliary.
  TensorMap forward(const TensorMap& inputs) override;
};

}  // namespace plait::models
