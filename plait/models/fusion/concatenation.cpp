#include "plait/models/fusion/concatenation.h"

#include <ATen/ATen.h>

namespace plait::models {

void Concatenation::Config::visit(ConfigVisitor& v) {
  v.field("streams", streams, "Number of streams", {.min = 1, .max = 64});
  v.field("width", width, "Width of each stream's feature and of the fused feature",
          {.min = 1, .max = 65536});
  v.field("hidden", hidden, "Width of the hidden layer", {.min = 1, .max = 65536});
  v.field("dropout", dropout, "Dropout after the hidden layer", {.min = 0, .max = 0.95});
}

Concatenation::Config Concatenation::Config::tiny() {
  Config c;
  c.streams = 3;
  c.width = 8;
  c.hidden = 12;
  c.dropout = 0;
  return c;
}

Concatenation::Concatenation(const Config& config) : config_(config) {
  placeholder_ = add_parameter("placeholder", at::zeros({config.streams, config.width}));
  input_ = add<Linear>("input", config.streams * config.width, config.hidden);
  output_ = add<Linear>("output", config.hidden, config.width);
  dropout_ = add<Dropout>("dropout", config.dropout);
}

void Concatenation::reset_parameters(at::Generator& generator) {
  placeholder_.normal_(0, 0.02, generator);
}

FusionOutput Concatenation::fuse(const FusionInput& in) {
  Streams s = clean_streams(in, config_.streams, config_.width, "concatenation");
  at::Tensor x =
      at::where(s.present.unsqueeze(-1), s.features, placeholder_.to(s.features.scalar_type()));
  at::Tensor blocks = input_->whole_weight()
                          .view({config_.hidden, config_.streams, config_.width})
                          .permute({1, 2, 0});
  at::Tensor parts = at::bmm(x.transpose(0, 1), blocks).transpose(0, 1);  // [B, M, H]
  at::Tensor hidden = at::gelu(parts.sum(1) + input_->bias);
  // The norm's slope at 0 is not finite, so an epsilon stands under the root.
  at::Tensor norm = (parts.to(at::kFloat).square().sum(-1) + 1e-12).sqrt() * s.present;
  at::Tensor weights = (norm / norm.sum(1, true).clamp_min(1e-12)).to(s.features.scalar_type());
  return {(*output_)((*dropout_)(hidden)), weights, {}, {}};
}

}  // namespace plait::models
