#include "plait/models/fusion/decisions.h"

#include <ATen/ATen.h>

#include "plait/core/error.h"

namespace plait::models {
namespace {

struct Experts {
  at::Tensor log_p;    // [B, M, K] float32, zeros where absent
  at::Tensor weights;  // [B, M] float32, equal over present streams
  at::Tensor present;  // [B, M]
};

Experts experts_of(const FusionInput& in, int64_t streams, const at::Tensor& log_temperature,
                   const char* unit) {
  if (!in.logits.defined() || in.logits.dim() != 3 || in.logits.size(1) != streams) {
    fail(ErrorCode::kInvalidArgument, unit,
         "expected logits [B, " + std::to_string(streams) + ", K], got " +
             (in.logits.defined() ? describe(in.logits) : "nothing"));
  }
  at::Tensor present = checked_presence(in.present, in.logits.size(0), streams, unit);
  at::Tensor real = present.unsqueeze(-1);
  at::Tensor z = at::where(real, in.logits, at::zeros_like(in.logits)).to(at::kFloat);
  if (log_temperature.defined()) z = z * (-log_temperature.to(at::kFloat)).exp().unsqueeze(-1);
  at::Tensor log_p = at::log_softmax(z, -1);
  at::Tensor weights = present.to(at::kFloat);
  weights = weights / weights.sum(1, true).clamp_min(1);
  return {at::where(real, log_p, at::zeros_like(log_p)), weights, present};
}

}  // namespace

void DecisionConfig::visit(ConfigVisitor& v) {
  v.field("streams", streams, "Number of streams", {.min = 1, .max = 64});
  v.field("width", width, "Width of the streams' features (unused: decisions are fused)",
          {.min = 1, .max = 65536});
  v.field("learned_temperature", learned_temperature, "Learn one temperature per stream");
}

DecisionConfig DecisionConfig::tiny() {
  DecisionConfig c;
  c.width = 8;
  c.learned_temperature = true;
  return c;
}

MeanOfExperts::MeanOfExperts(const Config& config) : config_(config) {
  if (config.learned_temperature)
    log_temperature_ = add_parameter("log_temperature", at::zeros({config.streams}));
}

FusionOutput MeanOfExperts::fuse(const FusionInput& in) {
  Experts e = experts_of(in, config_.streams, log_temperature_, "mean");
  // log Σ w p by log-sum-exp: absent streams enter with a weight that is exactly 0 after exp.
  at::Tensor log_w =
      at::where(e.present, e.weights.clamp_min(1e-12).log(), at::full_like(e.weights, -1e4));
  at::Tensor logits = at::logsumexp(e.log_p + log_w.unsqueeze(-1), at::IntArrayRef({1}));
  return {{}, e.weights.to(in.logits.scalar_type()), logits.to(in.logits.scalar_type()), {}};
}

void ProductOfExperts::Config::visit(ConfigVisitor& v) {
  DecisionConfig::visit(v);
  v.field("pooling", pooling, "Mean or sum of the experts' log-probabilities",
          {.one_of = {"mean", "sum"}});
  v.field("classes", classes,
          "Number of classes of the prior that pooling by sum corrects for; 0: uniform",
          {.min = 0, .max = 10000000});
}

ProductOfExperts::Config ProductOfExperts::Config::tiny() {
  Config c;
  c.width = 8;
  c.learned_temperature = true;
  c.pooling = "sum";
  c.classes = 5;
  return c;
}

ProductOfExperts::ProductOfExperts(const Config& config) : config_(config) {
  if (config.learned_temperature)
    log_temperature_ = add_parameter("log_temperature", at::zeros({config.streams}));
  if (config.classes > 0) log_prior_ = add_buffer("log_prior", at::zeros({config.classes}));
}

void ProductOfExperts::set_prior(const at::Tensor& frequencies) {
  if (!log_prior_.defined() || frequencies.sizes() != log_prior_.sizes() ||
      !frequencies.gt(0).all().item<bool>()) {
    fail(ErrorCode::kInvalidArgument, "product",
         "expected positive frequencies of the " + std::to_string(config_.classes) +
             " classes of the config, got " + describe(frequencies));
  }
  log_prior_.copy_((frequencies.to(at::kFloat) / frequencies.sum()).log());
}

FusionOutput ProductOfExperts::fuse(const FusionInput& in) {
  Experts e = experts_of(in, config_.streams, log_temperature_, "product");
  at::Tensor pooled;
  if (config_.pooling == "mean") {
    pooled = (e.log_p * e.weights.unsqueeze(-1)).sum(1);
  } else {
    pooled = e.log_p.sum(1);
    if (log_prior_.defined()) {
      if (log_prior_.size(0) != pooled.size(1)) {
        fail(ErrorCode::kInvalidArgument, "product",
             "expected logits of " + std::to_string(config_.classes) + " classes, got " +
                 describe(in.logits));
      }
      pooled = pooled - (e.present.sum(1, true) - 1) * log_prior_.to(at::kFloat);
    }
  }
  at::Tensor logits = at::log_softmax(pooled, -1);
  return {{}, e.weights.to(in.logits.scalar_type()), logits.to(in.logits.scalar_type()), {}};
}

}  // namespace plait::models
