#include "plait/models/fusion/progressive.h"

#include <ATen/ATen.h>

#include "plait/core/error.h"
#include "plait/models/fusion/functional.h"

namespace plait::models {

void Progressive::Config::visit(ConfigVisitor& v) {
  v.field("streams", streams, "Number of streams", {.min = 1, .max = 64});
  v.field("width", width, "Width of the tokens and of the fused feature", {.min = 1, .max = 65536});
  v.field("heads", heads, "Attention heads", {.min = 1, .max = 256});
  v.field("stream_layers", stream_layers, "Layers of each stream's own Transformer",
          {.min = 1, .max = 64});
  v.field("cross_layers", cross_layers, "Layers of the cross-modal Transformer",
          {.min = 1, .max = 64});
  v.field("dropout", dropout, "Dropout inside the layers", {.min = 0, .max = 0.95});
}

Progressive::Config Progressive::Config::tiny() {
  Config c;
  c.width = 8;
  c.heads = 2;
  c.dropout = 0;
  return c;
}

void Progressive::Config::validate() const {
  require(width % heads == 0, "progressive", "expected width to be a multiple of heads");
}

Progressive::Progressive(const Config& config) : config_(config) {
  auto append = [&](Layers& layers, int64_t count) {
    for (int64_t i = 0; i < count; ++i)
      layers.append(config.width, config.heads, 4 * config.width, config.dropout);
  };
  towers_ = add<ModuleList<Layers>>("towers");
  for (int64_t m = 0; m < config.streams; ++m) append(*towers_->append(), config.stream_layers);
  stream_ = add<Embedding>("stream", config.streams, config.width);
  cross_ = add<Layers>("cross");
  append(*cross_, config.cross_layers);
  norm_ = add<LayerNorm>("norm", config.width);
  score_ = add<Linear>("score", config.width, 1);
  gate_ = add<Linear>("gate", config.width, config.width);
  output_norm_ = add<LayerNorm>("output_norm", config.width);
}

FusionOutput Progressive::fuse(const FusionInput& in) {
  Streams s = clean_streams(in, config_.streams, config_.width, "progressive");
  StreamTokens t = gather_tokens(in, s, "progressive");
  at::Tensor zero = at::zeros({}, t.reliability.options());
  at::Tensor one_id = at::zeros({1}, t.stream.options());

  // Regrouped by stream: every stream's tokens are contiguous from here on.
  std::vector<at::Tensor> parts, streams, masks;
  for (int64_t m = 0; m < config_.streams; ++m) {
    if (!in.tokens.defined()) {
      // A token alone attends to itself.
      at::Tensor x = t.x.slice(1, m, m + 1);
      for (auto& layer : (*towers_)[m]) x = (*layer)(x, {});
      parts.push_back(x);
      continue;
    }
    at::Tensor index = t.stream.eq(m).nonzero().squeeze(1);
    at::Tensor x = t.x.index_select(1, index);
    at::Tensor mask = t.mask.index_select(1, index);
    at::Tensor ids = at::full({index.size(0)}, m, t.stream.options());
    at::Tensor own = modality_attention_bias(ids, ids, zero, {}, mask);
    for (auto& layer : (*towers_)[m]) x = (*layer)(x, own);
    parts.push_back(x);
    streams.push_back(ids);
    masks.push_back(mask);
  }
  StreamTokens all{at::cat(parts, 1), t.stream, t.mask, {}};
  if (in.tokens.defined()) all.stream = at::cat(streams), all.mask = at::cat(masks, 1);
  at::Tensor bias = modality_attention_bias(one_id, all.stream, zero, {}, all.mask);
  at::Tensor x = all.x + (*stream_)(all.stream);
  for (auto& layer : *cross_) x = (*layer)(x, bias);

  at::Tensor pooled = mean_by_stream(all, (*norm_)(x), config_.streams);  // [B, M, D]
  at::Tensor scores =
      (*score_)(pooled).squeeze(-1) + s.quality.clamp_min(1e-6).log().to(pooled.scalar_type());
  Fused out = dynamic_routing_gate(at::sigmoid((*gate_)(pooled)) * pooled, scores, s.present);
  return {(*output_norm_)(out.fused), out.weights, {}, {}};
}

}  // namespace plait::models
