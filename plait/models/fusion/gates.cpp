#include "plait/models/fusion/gates.h"

#include <ATen/ATen.h>

#include <cmath>

#include "plait/core/error.h"
#include "plait/models/fusion/functional.h"

namespace plait::models {

void DynamicModalityWeighting::Config::visit(ConfigVisitor& v) {
  v.field("streams", streams, "Number of streams", {.min = 1, .max = 64});
  v.field("width", width, "Width of each stream's feature and of the fused feature",
          {.min = 1, .max = 65536});
  v.field("temperature", temperature, "Starting temperature: higher makes weights more equal",
          {.min = 1e-3, .max = 1e3});
}

DynamicModalityWeighting::Config DynamicModalityWeighting::Config::tiny() {
  Config c;
  c.width = 8;
  return c;
}

DynamicModalityWeighting::DynamicModalityWeighting(const Config& config) : config_(config) {
  log_temperature_ = add_parameter("log_temperature", at::full({}, std::log(config.temperature)));
  bias_ = add_parameter("bias", at::zeros({config.streams}));
}

FusionOutput DynamicModalityWeighting::fuse(const FusionInput& in) {
  Streams s = clean_streams(in, config_.streams, config_.width, "dma");
  Fused out =
      dynamic_modality_weighting(s.features, s.quality, s.present, log_temperature_.exp(), bias_);
  return {out.fused, out.weights, {}, {}};
}

void DynamicRoutingGate::Config::visit(ConfigVisitor& v) {
  v.field("streams", streams, "Number of streams", {.min = 1, .max = 64});
  v.field("width", width, "Width of each stream's feature and of the fused feature",
          {.min = 1, .max = 65536});
  v.field("hidden", hidden, "Hidden width of each stream's scoring MLP", {.min = 1, .max = 65536});
  v.field("tasks", tasks, "Number of tasks that the gate is conditioned on",
          {.min = 1, .max = 4096});
  v.field("entropy_weight", entropy_weight, "Weight of the entropy term in the loss",
          {.min = 0, .max = 100});
}

DynamicRoutingGate::Config DynamicRoutingGate::Config::tiny() {
  Config c;
  c.width = 8;
  c.hidden = 6;
  c.tasks = 2;
  c.entropy_weight = 0.1;
  return c;
}

DynamicRoutingGate::DynamicRoutingGate(const Config& config) : config_(config) {
  int64_t m = config.streams, d = config.width, h = config.hidden;
  norm_ = add<LayerNorm>("norm", d);
  weight1_ = add_parameter("weight1", at::zeros({m, d, h}));
  bias1_ = add_parameter("bias1", at::zeros({m, h}));
  quality_weight_ = add_parameter("quality_weight", at::zeros({m, h}));
  weight2_ = add_parameter("weight2", at::zeros({m, h}));
  bias2_ = add_parameter("bias2", at::zeros({m}));
  quality_scale_ = add_parameter("quality_scale", at::ones({}));
  task_ = add<Embedding>("task", config.tasks, h);
}

void DynamicRoutingGate::reset_parameters(at::Generator& generator) {
  double bound = 1.0 / std::sqrt(static_cast<double>(config_.width));
  weight1_.uniform_(-bound, bound, generator);
  bias1_.uniform_(-bound, bound, generator);
  quality_weight_.uniform_(-bound, bound, generator);
  weight2_.normal_(0, 0.01, generator);
  bias2_.zero_();
  quality_scale_.fill_(1);
}

at::Tensor DynamicRoutingGate::scores(const Streams& s, const at::Tensor& task) const {
  at::ScalarType dtype = s.features.scalar_type();
  at::Tensor log_q = s.quality.clamp_min(1e-6).log().to(dtype);
  at::Tensor x = (*norm_)(s.features).transpose(0, 1);                                // [M, B, D]
  at::Tensor hidden = at::baddbmm(bias1_.unsqueeze(1), x, weight1_).transpose(0, 1);  // [B, M, H]
  at::Tensor id =
      task.defined() ? task.to(at::kLong) : at::zeros({1}, s.present.options().dtype(at::kLong));
  hidden = hidden + log_q.unsqueeze(-1) * quality_weight_ + (*task_)(id.reshape({-1})).unsqueeze(1);
  return (at::gelu(hidden) * weight2_).sum(-1) + bias2_ + quality_scale_ * log_q;
}

FusionOutput DynamicRoutingGate::fuse(const FusionInput& in) {
  Streams s = clean_streams(in, config_.streams, config_.width, "drg");
  if (in.task.defined() && in.task.numel() != 1 && in.task.numel() != s.present.size(0)) {
    fail(ErrorCode::kInvalidArgument, "drg", "expected task [] or [B], got " + describe(in.task));
  }
  Fused out = dynamic_routing_gate(s.features, scores(s, in.task), s.present);
  at::Tensor auxiliary;
  if (config_.entropy_weight > 0) {
    at::Tensor w = out.weights.to(at::kFloat);
    at::Tensor entropy = -(w * w.clamp_min(1e-12).log()).sum(1);
    at::Tensor most = s.present.sum(1).clamp_min(1).to(at::kFloat).log();
    auxiliary = config_.entropy_weight * (most - entropy);
  }
  return {out.fused, out.weights, {}, auxiliary};
}

}  // namespace plait::models
