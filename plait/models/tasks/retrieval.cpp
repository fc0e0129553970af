#include "plait/models/tasks/retrieval.h"

#include <ATen/ATen.h>

#include <cmath>

#include "plait/core/error.h"
#include "plait/models/tasks/linear_head.h"

namespace plait::models {
namespace {

// The papers' starting values; CLIP clips its scale at 100 so that training stays stable.
const double kClipScale = std::log(1 / 0.07);
const double kSigmoidScale = std::log(10.0);
const double kSigmoidBias = -10.0;
const double kMaxScale = std::log(100.0);

at::Tensor unit_length(const at::Tensor& x) {
  // The epsilon under the root keeps the slope finite for a row of zeros.
  return x / (x.square().sum(-1, true) + 1e-12).sqrt();
}

at::Tensor similarities(const at::Tensor& a, const at::Tensor& b, const at::Tensor& logit_scale) {
  if (a.dim() != 2 || a.sizes() != b.sizes()) {
    fail(ErrorCode::kInvalidArgument, "retrieval",
         "expected two embeddings [B, E], got " + describe(a) + " and " + describe(b));
  }
  return at::matmul(a.to(at::kFloat), b.to(at::kFloat).t()) *
         logit_scale.to(at::kFloat).clamp_max(kMaxScale).exp();
}

}  // namespace

void Retrieval::Config::visit(ConfigVisitor& v) {
  v.field("width", width, "Width of the features", {.min = 1, .max = 65536});
  v.field("embedding", embedding, "Width of the shared space", {.min = 1, .max = 65536});
  v.field("hidden", hidden, "Width of a hidden layer; 0: none", {.min = 0, .max = 65536});
  v.field("objective", objective, "Loss of the shared space",
          {.one_of = {"contrastive", "sigmoid"}});
}

Retrieval::Config Retrieval::Config::tiny() {
  Config c;
  c.width = 8;
  c.embedding = 6;
  c.objective = "sigmoid";
  return c;
}

Retrieval::Retrieval(const Config& config) : config_(config) {
  norm_ = add<LayerNorm>("norm", config.width);
  if (config.hidden > 0) hidden_ = add<Linear>("hidden", config.width, config.hidden);
  output_ = add<Linear>("output", config.hidden > 0 ? config.hidden : config.width,
                        config.embedding, /*bias=*/false);
  bool sigmoid = config.objective == "sigmoid";
  logit_scale_ = add_parameter("logit_scale", at::full({}, sigmoid ? kSigmoidScale : kClipScale));
  if (sigmoid) logit_bias_ = add_parameter("logit_bias", at::full({}, kSigmoidBias));
}

void Retrieval::reset_parameters(at::Generator&) {
  logit_scale_.fill_(logit_bias_.defined() ? kSigmoidScale : kClipScale);
  if (logit_bias_.defined()) logit_bias_.fill_(kSigmoidBias);
}

TensorMap Retrieval::forward(const TensorMap& inputs) {
  at::Tensor x = (*norm_)(head_features(inputs, config_.width, "retrieval"));
  if (hidden_) x = at::gelu((*hidden_)(x));
  TensorMap out = {{"embedding", unit_length((*output_)(x))},
                   {"logit_scale", logit_scale_.expand({x.size(0)})}};
  if (logit_bias_.defined()) out["logit_bias"] = logit_bias_.expand({x.size(0)});
  return out;
}

at::Tensor Retrieval::loss(const TensorMap& outputs, const at::Tensor& target) const {
  const at::Tensor& a = get(outputs, "embedding", "retrieval");
  if (target.sizes() != a.sizes()) {
    fail(ErrorCode::kInvalidArgument, "retrieval",
         "expected a target " + describe(a) + ", got " + describe(target));
  }
  at::Tensor known = at::isfinite(target).all(1).nonzero().squeeze(1);
  if (known.size(0) == 0) return a.sum() * 0;
  at::Tensor own = a.index_select(0, known), other = unit_length(target.index_select(0, known));
  at::Tensor scale = get(outputs, "logit_scale", "retrieval").select(0, 0);
  if (config_.objective == "contrastive") return contrastive_loss(own, other, scale);
  return sigmoid_loss(own, other, scale, get(outputs, "logit_bias", "retrieval").select(0, 0));
}

at::Tensor contrastive_loss(const at::Tensor& a, const at::Tensor& b,
                            const at::Tensor& logit_scale) {
  at::Tensor logits = similarities(a, b, logit_scale);
  at::Tensor pairs = at::arange(a.size(0), logits.options().dtype(at::kLong).requires_grad(false));
  return 0.5 * (at::cross_entropy_loss(logits, pairs) + at::cross_entropy_loss(logits.t(), pairs));
}

at::Tensor sigmoid_loss(const at::Tensor& a, const at::Tensor& b, const at::Tensor& logit_scale,
                        const at::Tensor& logit_bias) {
  at::Tensor logits = similarities(a, b, logit_scale) + logit_bias.to(at::kFloat);
  at::Tensor sign = 2 * at::eye(a.size(0), logits.options().requires_grad(false)) - 1;
  return -at::log_sigmoid(sign * logits).sum() / a.size(0);
}

at::Tensor zero_shot_logits(const at::Tensor& embedding, const at::Tensor& label_embeddings,
                            const at::Tensor& logit_scale) {
  if (embedding.dim() != 2 || label_embeddings.dim() != 2 ||
      embedding.size(1) != label_embeddings.size(1)) {
    fail(ErrorCode::kInvalidArgument, "retrieval",
         "expected embeddings [B, E] and label embeddings [K, E], got " + describe(embedding) +
             " and " + describe(label_embeddings));
  }
  at::Tensor scale = logit_scale.clamp_max(kMaxScale).exp().reshape({-1, 1});
  return at::matmul(unit_length(embedding),
                    unit_length(label_embeddings.to(embedding.scalar_type())).t()) *
         scale;
}

}  // namespace plait::models
