#include "plait/models/fusion/bridge.h"

#include <ATen/ATen.h>

#include "plait/core/error.h"
#include "plait/models/fusion/functional.h"

namespace plait::models {

void Bridge::Config::visit(ConfigVisitor& v) {
  v.field("streams", streams, "Number of streams", {.min = 1, .max = 64});
  v.field("width", width, "Width of the tokens, the latents and the fused feature",
          {.min = 1, .max = 65536});
  v.field("latents", latents, "Number of shared latents", {.min = 1, .max = 4096});
  v.field("heads", heads, "Attention heads", {.min = 1, .max = 256});
  v.field("layers", layers, "Layers, each of cross-attention and a Transformer layer",
          {.min = 1, .max = 64});
  v.field("dropout", dropout, "Dropout inside the layers", {.min = 0, .max = 0.95});
}

Bridge::Config Bridge::Config::tiny() {
  Config c;
  c.width = 8;
  c.latents = 3;
  c.heads = 2;
  c.layers = 2;
  c.dropout = 0;
  return c;
}

void Bridge::Config::validate() const {
  require(width % heads == 0, "bridge", "expected width to be a multiple of heads");
}

Bridge::Layer::Layer(const Config& config) {
  latent_norm = add<LayerNorm>("latent_norm", config.width);
  token_norm = add<LayerNorm>("token_norm", config.width);
  cross = add<MultiheadAttention>("cross", config.width, config.heads);
  mix = add<TransformerLayer>("mix", config.width, config.heads, 4 * config.width, config.dropout);
}

Bridge::Bridge(const Config& config) : config_(config) {
  latents_ = add_parameter("latents", at::zeros({config.latents, config.width}));
  reliability_ = add_parameter("reliability", at::ones({}));
  stream_ = add<Embedding>("stream", config.streams, config.width);
  layers_ = add<ModuleList<Layer>>("layers");
  for (int64_t i = 0; i < config.layers; ++i) layers_->append(config);
  norm_ = add<LayerNorm>("norm", config.width);
  output_ = add<Linear>("output", config.width, config.width);
}

void Bridge::reset_parameters(at::Generator& generator) {
  latents_.normal_(0, 0.02, generator);
  reliability_.fill_(1);
}

FusionOutput Bridge::fuse(const FusionInput& in) {
  Streams s = clean_streams(in, config_.streams, config_.width, "bridge");
  StreamTokens t = gather_tokens(in, s, "bridge");
  at::Tensor no_stream = at::full({1}, -1, t.stream.options());
  at::Tensor reliability = t.reliability.clamp_min(1e-6).pow(reliability_.to(at::kFloat));
  at::Tensor bias = modality_attention_bias(
      no_stream, t.stream, at::zeros({}, reliability.options()), reliability, t.mask);
  at::Tensor tokens = t.x + (*stream_)(t.stream);
  at::Tensor x = latents_.to(tokens.scalar_type()).unsqueeze(0).expand({tokens.size(0), -1, -1});
  at::Tensor weights;
  for (auto& layer : *layers_) {
    auto [read, mass] =
        layer->cross->with_mass((*layer->latent_norm)(x), (*layer->token_norm)(tokens), bias);
    x = (*layer->mix)(x + read, {});
    weights = mass;
  }
  weights = sum_by_stream(weights, t.stream, config_.streams);
  weights = at::where(s.present, weights, at::zeros_like(weights)).to(s.features.scalar_type());
  return {(*output_)((*norm_)(x.mean(1))), weights, {}, {}};
}

}  // namespace plait::models
