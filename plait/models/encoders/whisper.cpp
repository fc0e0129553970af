#include "plait/models/encoders/whisper.h"

#include <ATen/ATen.h>

#include <cmath>

#include "plait/core/error.h"
#include "plait/models/encoders/common.h"

namespace plait::models {

void Whisper::Config::visit(ConfigVisitor& v) {
  v.field("num_mel_bins", num_mel_bins, "Mel bands of the spectrogram", {.min = 1, .max = 1024});
  v.field("d_model", d_model, "Width D of the tokens", {.min = 4, .max = 65536});
  v.field("encoder_layers", encoder_layers, "Transformer layers", {.min = 1, .max = 1024});
  v.field("encoder_attention_heads", encoder_attention_heads, "Attention heads",
          {.min = 1, .max = 1024});
  v.field("encoder_ffn_dim", encoder_ffn_dim, "Width of the feed-forward layers",
          {.min = 1, .max = 262144});
  v.field("activation_function", activation_function, "Activation of the feed-forward layers");
  v.field("dropout", dropout, "Dropout while training", {.min = 0, .max = 0.99});
  v.field("max_source_positions", max_source_positions,
          "Longest input in tokens, of two frames each", {.min = 1, .max = 1e6});
  v.field("average_pool", average_pool,
          "Mean of so many neighbouring tokens, before the last normalisation",
          {.min = 1, .max = 64});
  v.field("convolve_padding", convolve_padding,
          "Let convolutions see the frames behind a row's real ones");
}

Whisper::Config Whisper::Config::tiny() {
  Config c;
  c.num_mel_bins = 8;
  c.d_model = 16;
  c.encoder_layers = 2;
  c.encoder_attention_heads = 2;
  c.encoder_ffn_dim = 24;
  c.max_source_positions = 20;
  return c;
}

void Whisper::Config::validate() const {
  require(d_model % encoder_attention_heads == 0, "whisper",
          "expected d_model to be a multiple of encoder_attention_heads");
  require(d_model % 2 == 0, "whisper", "expected an even d_model");
  check_activation(activation_function);
}

namespace {

struct SelfAttention : Module {
  SelfAttention(int64_t width, int64_t n) : heads(n) {
    k = add<Linear>("k_proj", width, width, /*bias=*/false);
    v = add<Linear>("v_proj", width, width);
    q = add<Linear>("q_proj", width, width);
    out = add<Linear>("out_proj", width, width);
  }
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& mask) const {
    return (*out)(attention((*q)(x), (*k)(x), (*v)(x), heads, mask));
  }
  int64_t heads;
  std::shared_ptr<Linear> k, v, q, out;
};

struct Layer : Module {
  explicit Layer(const Whisper::Config& c)
      : attention(add<SelfAttention>("self_attn", c.d_model, c.encoder_attention_heads)),
        attention_norm(add<LayerNorm>("self_attn_layer_norm", c.d_model)),
        fc1(add<Linear>("fc1", c.d_model, c.encoder_ffn_dim)),
        fc2(add<Linear>("fc2", c.encoder_ffn_dim, c.d_model)),
        final_norm(add<LayerNorm>("final_layer_norm", c.d_model)),
        dropout(add<Dropout>("dropout", c.dropout)),
        act(c.activation_function) {}
  at::Tensor operator()(const at::Tensor& in, const at::Tensor& mask) const {
    at::Tensor x = in + (*dropout)((*attention)((*attention_norm)(in), mask));
    return x + (*dropout)((*fc2)(activate(act, (*fc1)((*final_norm)(x)))));
  }
  std::shared_ptr<SelfAttention> attention;
  std::shared_ptr<LayerNorm> attention_norm;
  std::shared_ptr<Linear> fc1, fc2;
  std::shared_ptr<LayerNorm> final_norm;
  std::shared_ptr<Dropout> dropout;
  std::string act;
};

/// Sines in the first half of the channels, cosines in the second, wavelengths from 2π to 10000 ·
/// 2π.
at::Tensor sinusoids(int64_t length, int64_t channels) {
  double step = std::log(10000.0) / std::max<int64_t>(channels / 2 - 1, 1);
  at::Tensor rate = at::exp(at::arange(channels / 2, at::kDouble) * -step);
  at::Tensor angle = at::arange(length, at::kDouble).unsqueeze(1) * rate.unsqueeze(0);
  return at::cat({angle.sin(), angle.cos()}, 1).to(at::kFloat);
}

/// The table is not trained but belongs to the checkpoint, under the name of an embedding.
struct Positions : Module {
  explicit Positions(const Whisper::Config& c) {
    weight = add_buffer("weight", sinusoids(c.max_source_positions, c.d_model));
  }
  at::Tensor weight;
};

at::Tensor zero_frames(const at::Tensor& x, const at::Tensor& mask) {
  return mask.defined() ? x.masked_fill(at::logical_not(mask).unsqueeze(1), 0) : x;
}

}  // namespace

class WhisperLayers : public ModuleList<Layer> {};

Whisper::Whisper(Config config) : config_(std::move(config)) {
  config_.validate();
  conv1_ = add<Conv>("conv1", config_.num_mel_bins, config_.d_model,
                     ConvOptions{.kernel = {3}, .padding = {1}});
  conv2_ = add<Conv>("conv2", config_.d_model, config_.d_model,
                     ConvOptions{.kernel = {3}, .stride = {2}, .padding = {1}});
  auto positions = add<Positions>("embed_positions", config_);
  positions_ = positions;
  position_table_ = positions->weight;
  dropout_ = add<Dropout>("dropout", config_.dropout);
  layers_ = add<WhisperLayers>("layers");
  for (int64_t i = 0; i < config_.encoder_layers; ++i) layers_->append(config_);
  norm_ = add<LayerNorm>("layer_norm", config_.d_model);
}

EncoderOutput Whisper::encode(const TensorMap& inputs) {
  const at::Tensor& features = get(inputs, "input_features", "whisper");
  if (features.dim() != 3 || features.size(0) == 0 || features.size(1) != config_.num_mel_bins ||
      features.size(2) == 0 || features.size(2) > 2 * config_.max_source_positions) {
    fail(ErrorCode::kInvalidArgument, "whisper",
         "expected input_features [B, " + std::to_string(config_.num_mel_bins) + ", 1 to " +
             std::to_string(2 * config_.max_source_positions) + "], got " + describe(features));
  }
  at::Tensor frames =
      check_mask(inputs, "attention_mask", features.size(0), features.size(2), "whisper");

  EncoderOutput out;
  const at::Tensor hidden = config_.convolve_padding ? at::Tensor() : frames;
  at::Tensor x = zero_frames(features.to(conv1_->weight.scalar_type()), hidden);
  // What the first convolution writes past the end of a row would leak into its last token.
  x = zero_frames(at::gelu((*conv1_)(x)), hidden);
  x = at::gelu((*conv2_)(x)).transpose(1, 2).contiguous();
  if (frames.defined()) out.mask = frames.slice(1, 0, frames.size(1), 2);
  x = (*dropout_)(x + position_table_.narrow(0, 0, x.size(1)));
  at::Tensor mask = attention_mask_or_none(out.mask);
  for (const auto& layer : *layers_) x = (*layer)(x, mask);
  if (const int64_t pool = config_.average_pool; pool > 1) {
    require(x.size(1) >= pool, "whisper", "expected at least average_pool tokens");
    x = at::avg_pool1d(x.transpose(1, 2), {pool}, {pool}).transpose(1, 2);
    // A mean counts when all that it is made of does.
    if (out.mask.defined()) out.mask = out.mask.slice(1, pool - 1, out.mask.size(1), pool);
  }
  out.tokens = (*norm_)(x);
  out.pooled = masked_mean(out.tokens, out.mask);
  return out;
}

}  // namespace plait::models
