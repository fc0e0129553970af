#include "plait/models/decoders/prosody.h"

#include <ATen/ATen.h>

#include "plait/core/error.h"

namespace plait::models {
namespace {

constexpr const char* kUnit = "prosody";

class PredictorLayer : public Module {
 public:
  PredictorLayer(int64_t in, int64_t out, int64_t kernel, double dropout) {
    conv_ = add<Conv>("conv", in, out, ConvOptions{.kernel = {kernel}, .padding = {kernel / 2}});
    norm_ = add<LayerNorm>("layer_norm", out);
    dropout_ = add<Dropout>("dropout", dropout);
  }
  /// [B, T, in] → [B, T, out].
  at::Tensor operator()(const at::Tensor& x) const {
    return (*dropout_)((*norm_)(at::relu((*conv_)(x.transpose(1, 2))).transpose(1, 2)));
  }

 private:
  std::shared_ptr<Conv> conv_;
  std::shared_ptr<LayerNorm> norm_;
  std::shared_ptr<Dropout> dropout_;
};

}  // namespace

class VariancePredictor : public Module {
 public:
  explicit VariancePredictor(const ProsodyPredictor::Config& c) {
    layers_ = add<ModuleList<PredictorLayer>>("conv_layers");
    for (int64_t i = 0; i < c.num_layers; ++i)
      layers_->append(i == 0 ? c.hidden_size : c.num_chans, c.num_chans, c.kernel_size, c.dropout);
    linear_ = add<Linear>("linear", c.num_chans, 1);
  }
  /// x [B, T, D], mask [B, T, 1] → [B, T].
  at::Tensor operator()(at::Tensor x, const at::Tensor& mask) const {
    for (const auto& layer : *layers_) x = (*layer)(x * mask);
    return ((*linear_)(x)*mask).squeeze(-1);
  }

 private:
  std::shared_ptr<ModuleList<PredictorLayer>> layers_;
  std::shared_ptr<Linear> linear_;
};

void ProsodyPredictor::Config::visit(ConfigVisitor& v) {
  v.field("vocab_size", vocab_size, "Symbols", {.min = 1, .max = 1e6});
  v.field("hidden_size", hidden_size, "Width of a symbol's vector", {.min = 1, .max = 8192});
  v.field("num_layers", num_layers, "Convolutions of each predictor", {.min = 1, .max = 32});
  v.field("num_chans", num_chans, "Their channels", {.min = 1, .max = 8192});
  v.field("kernel_size", kernel_size, "Their kernel", {.min = 1, .max = 63});
  v.field("dropout", dropout, "Share of values dropped in training", {.min = 0, .max = 0.95});
}

ProsodyPredictor::Config ProsodyPredictor::Config::tiny() {
  Config c;
  c.vocab_size = 19;
  c.hidden_size = 8;
  c.num_layers = 2;
  c.num_chans = 10;
  c.kernel_size = 3;
  return c;
}

void ProsodyPredictor::Config::validate() const {
  require(kernel_size % 2 == 1, kUnit, "expected an odd kernel_size");
}

ProsodyPredictor::ProsodyPredictor(Config config) : config_(std::move(config)) {
  config_.validate();
  embed_ = add<Embedding>("embed_tokens", config_.vocab_size, config_.hidden_size);
  duration_ = add<VariancePredictor>("duration_predictor", config_);
  pitch_ = add<VariancePredictor>("pitch_predictor", config_);
  energy_ = add<VariancePredictor>("energy_predictor", config_);
}

TensorMap ProsodyPredictor::forward(const TensorMap& inputs) {
  const at::Tensor& ids = get(inputs, "input_ids", kUnit);
  require(ids.dim() == 2 && ids.numel() > 0 && ids.scalar_type() == at::kLong, kUnit,
          "expected input_ids [B, T] int64 with at least one symbol");
  require(ids.min().item<int64_t>() >= 0 && ids.max().item<int64_t>() < config_.vocab_size, kUnit,
          "expected input_ids below vocab_size");
  at::Tensor mask = get_or_undefined(inputs, "attention_mask");
  if (!mask.defined()) mask = at::ones_like(ids);
  require(mask.sizes() == ids.sizes(), kUnit, "expected attention_mask as input_ids");
  mask = mask.to(embed_->weight.scalar_type()).unsqueeze(-1);
  at::Tensor x = (*embed_)(ids);
  return {{"log_duration", (*duration_)(x, mask)},
          {"pitch", (*pitch_)(x, mask)},
          {"energy", (*energy_)(x, mask)}};
}

}  // namespace plait::models
