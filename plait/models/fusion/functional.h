#pragma once
#include <ATen/core/Tensor.h>

/// The fusion algorithms as plain functions over batched tensors: B items, M streams, D width, H
/// heads. Every function is differentiable and ignores what stands in absent rows (NaN included,
/// also in gradients). `present` is [B, M] bool; undefined means that all are present. Rows without
/// any present stream give zeros.
namespace plait::models {

/// A weighted combination and the weights that made it.
struct Fused {
  at::Tensor fused;    ///< [B, D]
  at::Tensor weights;  ///< [B, M]; 0 where absent, sums to 1 over present streams
};

/// Softmax over the last dimension among present entries; 0 elsewhere. Computed in float32,
/// returned in scores' dtype.
at::Tensor masked_softmax(const at::Tensor& scores, const at::Tensor& present);

/// Σ_m weights_m · features_m over present streams: features [B, M, D], weights [B, M] → [B, D].
at::Tensor weighted_sum(const at::Tensor& features, const at::Tensor& weights,
                        const at::Tensor& present);

/// Dynamic modality weighting: w = softmax over present streams of log(quality)/temperature + bias;
/// fused = Σ w_m f_m. quality [B, M] in [0, 1] (values below 1e-6 count as 1e-6); temperature [] >
/// 0 or undefined (1: weights proportional to quality); bias [M] or undefined.
Fused dynamic_modality_weighting(const at::Tensor& features, const at::Tensor& quality,
                                 const at::Tensor& present = {}, const at::Tensor& temperature = {},
                                 const at::Tensor& bias = {});

/// Dynamic routing gate: w = softmax over present streams of scores [B, M]; fused = Σ w_m f_m.
Fused dynamic_routing_gate(const at::Tensor& features, const at::Tensor& scores,
                           const at::Tensor& present = {});

/// The additive term M of modality-aware attention, to be added to QKᵀ/√d:
/// M_ij = −β·1[query_stream_i ≠ key_stream_j] + log(reliability_j), and −10⁴ for keys that are
/// masked. query_stream [T] and key_stream [S] int64 (a negative query stream belongs to none and
/// is not penalised); beta [] or [H]; reliability [B, S] in [0, 1] or undefined; key_mask [B, S]
/// bool or undefined → [B or 1, H or 1, T, S].
at::Tensor modality_attention_bias(const at::Tensor& query_stream, const at::Tensor& key_stream,
                                   const at::Tensor& beta, const at::Tensor& reliability = {},
                                   const at::Tensor& key_mask = {});

/// Modality-aware scaled dot-product attention softmax(QKᵀ/√d + M)V on the fused kernel, M as
/// above. q [B, T, H·d], k and v [B, S, H·d] → [B, T, H·d].
at::Tensor modality_aware_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                    const at::Tensor& query_stream, const at::Tensor& key_stream,
                                    const at::Tensor& beta, const at::Tensor& reliability = {},
                                    const at::Tensor& key_mask = {}, int64_t heads = 1);

/// The importance share of each stream over a batch, [M], summing to 1: the mean over items of
/// `scores` [B, M] (quality, gate weights or any other non-negative measure), normalised within
/// each item over its present streams. Items whose scores are all 0 share equally among their
/// present streams.
at::Tensor modality_importance(const at::Tensor& scores, const at::Tensor& present = {});

}  // namespace plait::models
