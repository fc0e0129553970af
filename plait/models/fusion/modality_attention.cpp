#include "plait/models/fusion/modality_attention.h"

#include <ATen/ATen.h>

#include "plait/core/error.h"
#include "plait/models/fusion/functional.h"

namespace plait::models {

void ModalityAttention::Config::visit(ConfigVisitor& v) {
  v.field("streams", streams, "Number of streams", {.min = 1, .max = 64});
  v.field("width", width, "Width of the tokens and of the fused feature", {.min = 1, .max = 65536});
  v.field("heads", heads, "Attention heads", {.min = 1, .max = 256});
  v.field("layers", layers, "Transformer layers", {.min = 1, .max = 64});
  v.field("beta", beta, "Penalty of attention between streams (its start when learned)",
          {.min = -1e4, .max = 1e4});
  v.field("reliability", reliability, "Strength of the log-quality term (its start when learned)",
          {.min = 0, .max = 100});
  v.field("learn_bias", learn_bias, "Learn the penalty and the strength");
  v.field("dropout", dropout, "Dropout inside the layers", {.min = 0, .max = 0.95});
}

ModalityAttention::Config ModalityAttention::Config::tiny() {
  Config c;
  c.width = 8;
  c.heads = 2;
  c.beta = 0.5;
  c.dropout = 0;
  return c;
}

void ModalityAttention::Config::validate() const {
  require(width % heads == 0, "modality_attention", "expected width to be a multiple of heads");
}

ModalityAttention::ModalityAttention(const Config& config) : config_(config) {
  at::Tensor beta = at::full({config.heads}, config.beta),
             strength = at::full({}, config.reliability);
  beta_ = config.learn_bias ? add_parameter("beta", beta) : add_buffer("beta", beta);
  reliability_ = config.learn_bias ? add_parameter("reliability", strength)
                                   : add_buffer("reliability", strength);
  query_ = add_parameter("query", at::zeros({config.width}));
  stream_ = add<Embedding>("stream", config.streams, config.width);
  layers_ = add<ModuleList<TransformerLayer>>("layers");
  for (int64_t i = 0; i < config.layers; ++i) {
    layers_->append(config.width, config.heads, 4 * config.width, config.dropout);
  }
  token_norm_ = add<LayerNorm>("token_norm", config.width);
  readout_ = add<MultiheadAttention>("readout", config.width, config.heads);
  norm_ = add<LayerNorm>("norm", config.width);
}

void ModalityAttention::reset_parameters(at::Generator& generator) {
  query_.normal_(0, 0.02, generator);
}

FusionOutput ModalityAttention::fuse(const FusionInput& in) {
  Streams s = clean_streams(in, config_.streams, config_.width, "modality_attention");
  StreamTokens t = gather_tokens(in, s, "modality_attention");
  // r^s keeps the written form M = −β·1[…] + log r while the strength s stays learnable.
  at::Tensor strength = reliability_.to(at::kFloat);
  at::Tensor reliability = t.reliability.clamp_min(1e-6).pow(strength);
  at::Tensor bias =
      modality_attention_bias(t.stream, t.stream, beta_.to(at::kFloat), reliability, t.mask);
  at::Tensor x = t.x + (*stream_)(t.stream);
  for (auto& layer : *layers_) x = (*layer)(x, bias);

  at::Tensor no_stream = at::full({1}, -1, t.stream.options());
  at::Tensor reading = modality_attention_bias(no_stream, t.stream, at::zeros({}, bias.options()),
                                               reliability, t.mask);
  at::Tensor query = query_.to(x.scalar_type()).expand({x.size(0), 1, config_.width});
  auto [read, mass] = readout_->with_mass(query, (*token_norm_)(x), reading);
  at::Tensor weights = sum_by_stream(mass, t.stream, config_.streams);
  weights = at::where(s.present, weights, at::zeros_like(weights)).to(s.features.scalar_type());
  at::Tensor fused = (*norm_)(read.squeeze(1) + weighted_sum(s.features, weights, s.present));
  return {fused, weights, {}, {}};
}

}  // namespace plait::models
