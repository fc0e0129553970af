#include "plait/models/fusion/functional.h"

#include <ATen/ATen.h>

#include "plait/core/error.h"
#include "plait/core/tensor_map.h"
#include "plait/models/layers/layers.h"

namespace plait::models {
namespace {

constexpr double kSmallestReliability = 1e-6;
// Finite, so that a row in which everything is masked stays finite; exp(-1e4) is exactly 0 in every
// dtype.
constexpr double kMasked = -1e4;

at::Tensor presence_of(const at::Tensor& like, const at::Tensor& present) {
  if (!present.defined())
    return at::ones_like(like, like.options().dtype(at::kBool).requires_grad(false));
  if (present.sizes() != like.sizes()) {
    fail(ErrorCode::kInvalidArgument, "fusion",
         "expected present of the shape of the scores " + describe(like) + ", got " +
             describe(present));
  }
  return present.to(at::kBool);
}

void check_features(const at::Tensor& features, const at::Tensor& weights) {
  if (features.dim() != 3 || weights.dim() != 2 || features.size(0) != weights.size(0) ||
      features.size(1) != weights.size(1)) {
    fail(ErrorCode::kInvalidArgument, "fusion",
         "expected features [B, M, D] and scores [B, M], got " + describe(features) + " and " +
             describe(weights));
  }
}

at::Tensor log_reliability(const at::Tensor& r) {
  return r.to(at::kFloat).clamp_min(kSmallestReliability).log();
}

}  // namespace

at::Tensor masked_softmax(const at::Tensor& scores, const at::Tensor& present) {
  at::Tensor real = presence_of(scores, present);
  // Absent scores are replaced before any arithmetic: 0 · NaN would still be NaN in the backward
  // pass.
  at::Tensor safe = at::where(real, scores.to(at::kFloat),
                              at::scalar_tensor(kMasked, scores.options().dtype(at::kFloat)));
  at::Tensor weights = at::softmax(safe, -1);
  return at::where(real, weights, at::zeros_like(weights)).to(scores.scalar_type());
}

at::Tensor weighted_sum(const at::Tensor& features, const at::Tensor& weights,
                        const at::Tensor& present) {
  check_features(features, weights);
  at::Tensor real = presence_of(weights, present).unsqueeze(-1);
  at::Tensor safe = at::where(real, features, at::zeros_like(features));
  return at::bmm(weights.to(features.scalar_type()).unsqueeze(1), safe).squeeze(1);
}

Fused dynamic_modality_weighting(const at::Tensor& features, const at::Tensor& quality,
                                 const at::Tensor& present, const at::Tensor& temperature,
                                 const at::Tensor& bias) {
  check_features(features, quality);
  at::Tensor real = presence_of(quality, present);
  at::Tensor scores = log_reliability(at::where(real, quality, at::ones_like(quality)));
  if (temperature.defined()) scores = scores / temperature;
  if (bias.defined()) scores = scores + bias;
  at::Tensor weights = masked_softmax(scores, real).to(features.scalar_type());
  return {weighted_sum(features, weights, real), weights};
}

Fused dynamic_routing_gate(const at::Tensor& features, const at::Tensor& scores,
                           const at::Tensor& present) {
  check_features(features, scores);
  at::Tensor weights = masked_softmax(scores, present).to(features.scalar_type());
  return {weighted_sum(features, weights, present), weights};
}

at::Tensor modality_attention_bias(const at::Tensor& query_stream, const at::Tensor& key_stream,
                                   const at::Tensor& beta, const at::Tensor& reliability,
                                   const at::Tensor& key_mask) {
  require(query_stream.dim() == 1 && key_stream.dim() == 1, "modality attention",
          "expected stream ids [T] and [S]");
  require(beta.dim() <= 1, "modality attention", "expected beta [] or [heads]");
  at::Tensor q = query_stream.unsqueeze(1);
  at::Tensor cross = at::logical_and(q.ge(0), q.ne(key_stream.unsqueeze(0)));  // [T, S]
  at::Tensor penalty = beta.reshape({1, -1, 1, 1});
  at::Tensor bias = -penalty * cross.to(penalty.scalar_type());
  if (reliability.defined()) {
    at::Tensor safe = key_mask.defined() ? at::where(key_mask.to(at::kBool), reliability,
                                                     at::ones_like(reliability))
                                         : reliability;
    bias = bias + log_reliability(safe).unsqueeze(1).unsqueeze(1);
  }
  if (key_mask.defined()) {
    bias = at::where(key_mask.to(at::kBool).unsqueeze(1).unsqueeze(1), bias,
                     at::scalar_tensor(kMasked, bias.options()));
  }
  return bias;
}

at::Tensor modality_aware_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                    const at::Tensor& query_stream, const at::Tensor& key_stream,
                                    const at::Tensor& beta, const at::Tensor& reliability,
                                    const at::Tensor& key_mask, int64_t heads) {
  if (q.dim() != 3 || k.dim() != 3 || v.dim() != 3 || q.size(-1) % heads != 0) {
    fail(ErrorCode::kInvalidArgument, "modality attention",
         "expected q, k and v [B, T, heads * d], got " + describe(q) + ", " + describe(k) + ", " +
             describe(v));
  }
  at::Tensor keys = k, values = v;
  if (key_mask.defined()) {
    at::Tensor real = key_mask.to(at::kBool).unsqueeze(-1);
    keys = at::where(real, k, at::zeros_like(k));
    values = at::where(real, v, at::zeros_like(v));
  }
  at::Tensor bias = modality_attention_bias(query_stream, key_stream, beta, reliability, key_mask);
  return attention(q.contiguous(), keys.contiguous(), values.contiguous(), heads, bias);
}

at::Tensor modality_importance(const at::Tensor& scores, const at::Tensor& present) {
  require(scores.dim() == 2, "modality importance", "expected scores [B, M]");
  at::Tensor real = presence_of(scores, present);
  at::Tensor safe =
      at::where(real, scores.to(at::kFloat), at::zeros({}, scores.options().dtype(at::kFloat)))
          .clamp_min(0);
  at::Tensor total = safe.sum(1, true);
  at::Tensor n = real.sum(1, true);
  at::Tensor equal = real.to(at::kFloat) / n.clamp_min(1);
  at::Tensor share = at::where(total.gt(0), safe / total.clamp_min(1e-12), equal);
  return share.sum(0) / n.gt(0).sum().clamp_min(1);
}

}  // namespace plait::models
