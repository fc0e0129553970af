#include "plait/models/encoders/temporal_audio.h"

#include <ATen/ATen.h>

#include "plait/core/error.h"
#include "plait/models/encoders/common.h"

namespace plait::models {

void TemporalAudio::Config::visit(ConfigVisitor& v) {
  v.field("num_mel_bins", num_mel_bins, "Mel bands of the spectrogram", {.min = 1, .max = 1024});
  v.field("hidden_size", hidden_size, "Width D of the tokens", {.min = 1, .max = 65536});
  v.field("num_hidden_layers", num_hidden_layers,
          "Blocks of attention, convolution and feed-forward", {.min = 1, .max = 1024});
  v.field("num_attention_heads", num_attention_heads, "Attention heads, also of the pooling",
          {.min = 1, .max = 1024});
  v.field("intermediate_size", intermediate_size, "Width of the feed-forward layers",
          {.min = 1, .max = 262144});
  v.field("kernel_size", kernel_size, "Kernel of the blocks' convolutions in tokens, odd",
          {.min = 1, .max = 1023});
  v.field("max_frames", max_frames, "Longest input in frames", {.min = 1, .max = 1e7});
  v.field("dropout", dropout, "Dropout while training", {.min = 0, .max = 0.99});
}

TemporalAudio::Config TemporalAudio::Config::tiny() {
  Config c;
  c.num_mel_bins = 8;
  c.hidden_size = 16;
  c.num_hidden_layers = 2;
  c.num_attention_heads = 2;
  c.intermediate_size = 24;
  c.kernel_size = 3;
  return c;
}

void TemporalAudio::Config::validate() const {
  require(hidden_size % num_attention_heads == 0, "temporal_audio",
          "expected hidden_size to be a multiple of num_attention_heads");
  require(kernel_size % 2 == 1, "temporal_audio", "expected an odd kernel_size");
}

namespace {

/// Depthwise over time (at half the rate), then across channels. [B, T, in] → [B, ⌈T/2⌉, out].
struct StemLayer : Module {
  StemLayer(int64_t in, int64_t out) {
    depthwise = add<Conv>("depthwise", in, in,
                          ConvOptions{.kernel = {5}, .stride = {2}, .padding = {2}, .groups = in});
    pointwise = add<Linear>("pointwise", in, out);
    norm = add<LayerNorm>("norm", out);
  }
  at::Tensor operator()(const at::Tensor& x) const {
    return at::gelu((*norm)((*pointwise)((*depthwise)(x.transpose(1, 2)).transpose(1, 2))));
  }
  std::shared_ptr<Conv> depthwise;
  std::shared_ptr<Linear> pointwise;
  std::shared_ptr<LayerNorm> norm;
};

struct Attention : Module {
  explicit Attention(const TemporalAudio::Config& c) : heads(c.num_attention_heads) {
    norm = add<LayerNorm>("norm", c.hidden_size);
    qkv = add<Linear>("qkv", c.hidden_size, 3 * c.hidden_size);
    out = add<Linear>("out", c.hidden_size, c.hidden_size);
  }
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& keys) const {
    auto parts = (*qkv)((*norm)(x)).chunk(3, -1);
    return (*out)(attention(parts[0], parts[1], parts[2], heads, keys));
  }
  int64_t heads;
  std::shared_ptr<LayerNorm> norm;
  std::shared_ptr<Linear> qkv, out;
};

/// Gated, depthwise over time, gives attention the positions it lacks.
struct Convolution : Module {
  explicit Convolution(const TemporalAudio::Config& c) {
    int64_t d = c.hidden_size;
    norm = add<LayerNorm>("norm", d);
    in = add<Linear>("in", d, 2 * d);
    depthwise = add<Conv>(
        "depthwise", d, d,
        ConvOptions{.kernel = {c.kernel_size}, .padding = {c.kernel_size / 2}, .groups = d});
    inner_norm = add<LayerNorm>("inner_norm", d);
    out = add<Linear>("out", d, d);
  }
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& mask) const {
    at::Tensor gated = zero_padding(at::glu((*in)((*norm)(x)), -1), mask);
    at::Tensor mixed = (*depthwise)(gated.transpose(1, 2)).transpose(1, 2);
    return (*out)(at::silu((*inner_norm)(mixed)));
  }
  std::shared_ptr<LayerNorm> norm, inner_norm;
  std::shared_ptr<Linear> in, out;
  std::shared_ptr<Conv> depthwise;
};

struct FeedForward : Module {
  explicit FeedForward(const TemporalAudio::Config& c) {
    norm = add<LayerNorm>("norm", c.hidden_size);
    in = add<Linear>("in", c.hidden_size, c.intermediate_size);
    out = add<Linear>("out", c.intermediate_size, c.hidden_size);
  }
  at::Tensor operator()(const at::Tensor& x) const { return (*out)(at::silu((*in)((*norm)(x)))); }
  std::shared_ptr<LayerNorm> norm;
  std::shared_ptr<Linear> in, out;
};

struct Block : Module {
  explicit Block(const TemporalAudio::Config& c) {
    attention = add<Attention>("attention", c);
    convolution = add<Convolution>("convolution", c);
    feed_forward = add<FeedForward>("feed_forward", c);
    dropout = add<Dropout>("dropout", c.dropout);
  }
  at::Tensor operator()(const at::Tensor& in, const at::Tensor& mask,
                        const at::Tensor& keys) const {
    at::Tensor x = in + (*dropout)((*attention)(in, keys));
    x = x + (*dropout)((*convolution)(x, mask));
    return x + (*dropout)((*feed_forward)(x));
  }
  std::shared_ptr<Attention> attention;
  std::shared_ptr<Convolution> convolution;
  std::shared_ptr<FeedForward> feed_forward;
  std::shared_ptr<Dropout> dropout;
};

at::Tensor every_other(const at::Tensor& mask) {
  return mask.defined() ? mask.slice(1, 0, mask.size(1), 2) : mask;
}

}  // namespace

class TemporalStem : public ModuleList<StemLayer> {};
class TemporalBlocks : public ModuleList<Block> {};

TemporalAudio::TemporalAudio(Config config) : config_(std::move(config)) {
  config_.validate();
  stem_ = add<TemporalStem>("stem");
  stem_->append(config_.num_mel_bins, config_.hidden_size);
  stem_->append(config_.hidden_size, config_.hidden_size);
  blocks_ = add<TemporalBlocks>("blocks");
  for (int64_t i = 0; i < config_.num_hidden_layers; ++i) blocks_->append(config_);
  norm_ = add<LayerNorm>("norm", config_.hidden_size);
  pool_ = add<Linear>("pool", config_.hidden_size, config_.num_attention_heads, /*bias=*/false);
}

EncoderOutput TemporalAudio::encode(const TensorMap& inputs) {
  const at::Tensor& features = get(inputs, "input_features", "temporal_audio");
  if (features.dim() != 3 || features.size(0) == 0 || features.size(1) != config_.num_mel_bins ||
      features.size(2) == 0 || features.size(2) > config_.max_frames) {
    fail(ErrorCode::kInvalidArgument, "temporal_audio",
         "expected input_features [B, " + std::to_string(config_.num_mel_bins) + ", 1 to " +
             std::to_string(config_.max_frames) + "], got " + describe(features));
  }
  EncoderOutput out;
  out.mask =
      check_mask(inputs, "attention_mask", features.size(0), features.size(2), "temporal_audio");
  at::Tensor x = features.to(norm_->weight.scalar_type()).transpose(1, 2);
  for (const auto& layer : *stem_) {
    x = (*layer)(zero_padding(x, out.mask));
    out.mask = every_other(out.mask);
  }
  at::Tensor keys = attention_mask_or_none(out.mask);
  for (const auto& block : *blocks_) x = (*block)(x, out.mask, keys);
  out.tokens = (*norm_)(x);

  // Each head weighs the moments for its own share of the channels.
  at::Tensor score = (*pool_)(out.tokens);
  if (keys.defined()) score = score.masked_fill(keys.logical_not().view({x.size(0), -1, 1}), -1e9);
  at::Tensor shares = out.tokens.unflatten(-1, {config_.num_attention_heads, -1});
  out.pooled = (shares * score.softmax(1).unsqueeze(-1)).sum(1).flatten(1);
  return out;
}

}  // namespace plait::models
