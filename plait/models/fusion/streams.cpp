#include "plait/models/fusion/streams.h"

#include <ATen/ATen.h>

#include <cmath>

#include "plait/core/error.h"
#include "plait/models/fusion/functional.h"

namespace plait::models {

at::Tensor checked_presence(const at::Tensor& present, int64_t batch, int64_t streams,
                            const char* unit) {
  if (!present.defined() || present.dim() != 2 || present.size(0) != batch ||
      present.size(1) != streams) {
    fail(ErrorCode::kInvalidArgument, unit,
         "expected present [" + std::to_string(batch) + ", " + std::to_string(streams) + "], got " +
             (present.defined() ? describe(present) : "nothing"));
  }
  at::Tensor real = present.to(at::kBool);
  // Elsewhere the check would wait for the device; such rows give zeros there.
  if (real.is_cpu() && !real.any(1).all().item<bool>()) {
    fail(ErrorCode::kInvalidArgument, unit,
         "expected at least one present stream per item, got an item without any");
  }
  return real;
}

Streams clean_streams(const FusionInput& in, int64_t streams, int64_t width, const char* unit) {
  if (!in.features.defined() || in.features.dim() != 3 || in.features.size(1) != streams ||
      in.features.size(2) != width) {
    fail(ErrorCode::kInvalidArgument, unit,
         "expected features [B, " + std::to_string(streams) + ", " + std::to_string(width) +
             "], got " + (in.features.defined() ? describe(in.features) : "nothing"));
  }
  at::Tensor present = checked_presence(in.present, in.features.size(0), streams, unit);
  at::Tensor quality;
  if (in.quality.defined()) {
    if (in.quality.sizes() != present.sizes()) {
      fail(ErrorCode::kInvalidArgument, unit,
           "expected quality of the shape of present " + describe(present) + ", got " +
               describe(in.quality));
    }
    at::Tensor q = in.quality.to(at::kFloat);
    quality = at::where(present, q, at::ones_like(q)).clamp(0, 1);
  } else {
    quality = at::ones_like(present, present.options().dtype(at::kFloat));
  }
  return {at::where(present.unsqueeze(-1), in.features, at::zeros_like(in.features)), present,
          quality};
}

StreamTokens gather_tokens(const FusionInput& in, const Streams& s, const char* unit) {
  at::Tensor ids = at::arange(s.features.size(1), s.present.options().dtype(at::kLong));
  if (!in.tokens.defined()) return {s.features, ids, s.present, s.quality};
  const at::Tensor& x = in.tokens;
  if (x.dim() != 3 || x.size(0) != s.features.size(0) || x.size(2) != s.features.size(2) ||
      !in.token_stream.defined() || in.token_stream.dim() != 1 ||
      in.token_stream.size(0) != x.size(1)) {
    fail(ErrorCode::kInvalidArgument, unit,
         "expected tokens [B, T, D] and token_stream [T], got " + describe(x) + " and " +
             (in.token_stream.defined() ? describe(in.token_stream) : "nothing"));
  }
  at::Tensor stream = in.token_stream.to(at::kLong);
  at::Tensor mask = s.present.index_select(1, stream);
  if (in.token_mask.defined()) {
    if (in.token_mask.sizes() != mask.sizes()) {
      fail(ErrorCode::kInvalidArgument, unit,
           "expected token_mask of shape " + describe(mask) + ", got " + describe(in.token_mask));
    }
    mask = at::logical_and(mask, in.token_mask.to(at::kBool));
  }
  return {at::cat({s.features, at::where(mask.unsqueeze(-1), x, at::zeros_like(x))}, 1),
          at::cat({ids, stream}), at::cat({s.present, mask}, 1),
          at::cat({s.quality, s.quality.index_select(1, stream)}, 1)};
}

at::Tensor sum_by_stream(const at::Tensor& per_token, const at::Tensor& stream, int64_t streams) {
  at::Tensor member = at::one_hot(stream, streams).to(per_token.scalar_type());  // [S, M]
  return at::matmul(per_token, member);
}

at::Tensor mean_by_stream(const StreamTokens& tokens, const at::Tensor& x, int64_t streams) {
  at::Tensor member =
      at::one_hot(tokens.stream, streams).unsqueeze(0) * tokens.mask.unsqueeze(-1);  // [B, S, M]
  member = member.to(x.scalar_type());
  at::Tensor safe = at::where(tokens.mask.unsqueeze(-1), x, at::zeros_like(x));
  return at::bmm(member.transpose(1, 2), safe) / member.sum(1).clamp_min(1).unsqueeze(-1);
}

MultiheadAttention::MultiheadAttention(int64_t width, int64_t heads) : heads_(heads) {
  in_proj_weight_ = add_parameter("in_proj_weight", at::zeros({3 * width, width}));
  in_proj_bias_ = add_parameter("in_proj_bias", at::zeros({3 * width}));
  out_proj_ = add<Linear>("out_proj", width, width);
}

void MultiheadAttention::reset_parameters(at::Generator& generator) {
  double bound =
      std::sqrt(6.0 / static_cast<double>(in_proj_weight_.size(0) + in_proj_weight_.size(1)));
  in_proj_weight_.uniform_(-bound, bound, generator);
  in_proj_bias_.zero_();
}

MultiheadAttention::Projected MultiheadAttention::project(const at::Tensor& query,
                                                          const at::Tensor& key_value) const {
  if (query.is_same(key_value)) {
    auto all = at::linear(query, in_proj_weight_, in_proj_bias_).chunk(3, -1);
    return {all[0], all[1], all[2]};
  }
  const int64_t width = in_proj_weight_.size(1);
  auto own =
      at::linear(query, in_proj_weight_.slice(0, 0, width), in_proj_bias_.slice(0, 0, width));
  auto other = at::linear(key_value, in_proj_weight_.slice(0, width), in_proj_bias_.slice(0, width))
                   .chunk(2, -1);
  return {own, other[0], other[1]};
}

at::Tensor MultiheadAttention::operator()(const at::Tensor& query, const at::Tensor& key_value,
                                          const at::Tensor& bias) const {
  if (key_value.size(1) == 1) {
    // One key has all the weight, whatever its score.
    const int64_t from = 2 * in_proj_weight_.size(1);
    at::Tensor v =
        at::linear(key_value, in_proj_weight_.slice(0, from), in_proj_bias_.slice(0, from));
    return (*out_proj_)(v).expand({-1, query.size(1), -1});
  }
  Projected p = project(query, key_value);
  return (*out_proj_)(attention(p.q, p.k, p.v, heads_, bias));
}

std::pair<at::Tensor, at::Tensor> MultiheadAttention::with_mass(const at::Tensor& query,
                                                                const at::Tensor& key_value,
                                                                const at::Tensor& bias) const {
  Projected p = project(query, key_value);
  auto split = [&](const at::Tensor& x) {
    return x.view({x.size(0), x.size(1), heads_, -1}).transpose(1, 2);
  };
  at::Tensor q = split(p.q), k = split(p.k), v = split(p.v);
  at::Tensor scores =
      at::matmul(q, k.transpose(-1, -2)) / std::sqrt(static_cast<double>(q.size(-1)));
  if (bias.defined()) scores = scores + bias.to(scores.scalar_type());
  at::Tensor share = at::softmax(scores, -1, at::kFloat);  // [B, H, T, S]
  at::Tensor out = at::matmul(share.to(v.scalar_type()), v)
                       .transpose(1, 2)
                       .reshape({query.size(0), query.size(1), -1});
  return {(*out_proj_)(out), share.mean(at::IntArrayRef({1, 2}))};
}

TransformerLayer::TransformerLayer(int64_t width, int64_t heads, int64_t hidden, double dropout) {
  self_attn_ = add<MultiheadAttention>("self_attn", width, heads);
  linear1_ = add<Linear>("linear1", width, hidden);
  linear2_ = add<Linear>("linear2", hidden, width);
  norm1_ = add<LayerNorm>("norm1", width);
  norm2_ = add<LayerNorm>("norm2", width);
  dropout_ = add<Dropout>("dropout", dropout);
}

at::Tensor TransformerLayer::operator()(const at::Tensor& x, const at::Tensor& bias) const {
  at::Tensor n = (*norm1_)(x);
  at::Tensor y = x + (*dropout_)((*self_attn_)(n, n, bias));
  return y + (*dropout_)((*linear2_)((*dropout_)(at::gelu((*linear1_)((*norm2_)(y))))));
}

at::Tensor TransformerLayer::first(const at::Tensor& x, const at::Tensor& bias) const {
  const int64_t tokens = x.size(1);
  at::Tensor n = (*norm1_)(x);
  at::Tensor y =
      x.slice(1, 0, 1) + dropout_->first((*self_attn_)(n.slice(1, 0, 1), n, bias), tokens);
  at::Tensor hidden = dropout_->first(at::gelu((*linear1_)((*norm2_)(y))), tokens);
  return y + dropout_->first((*linear2_)(hidden), tokens);
}

}  // namespace plait::models
