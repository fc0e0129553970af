#include "plait/models/encoders/patch_series.h"

#include <ATen/ATen.h>

#include "plait/core/error.h"
#include "plait/models/encoders/common.h"

namespace plait::models {

void PatchSeries::Config::visit(ConfigVisitor& v) {
  v.field("channels", channels, "Channels C of the series", {.min = 1, .max = 65536});
  v.field("patch_length", patch_length, "Samples per token", {.min = 1, .max = 65536});
  v.field("max_length", max_length, "Longest input in samples", {.min = 1, .max = 1e7});
  v.field("kernel_size", kernel_size, "Kernel of the convolution before the patches, odd",
          {.min = 1, .max = 1023});
  v.field("stem_size", stem_size, "Channels after the convolution", {.min = 1, .max = 65536});
  v.field("hidden_size", hidden_size, "Width D of the tokens", {.min = 1, .max = 65536});
  v.field("num_hidden_layers", num_hidden_layers, "Transformer layers", {.min = 1, .max = 1024});
  v.field("num_attention_heads", num_attention_heads, "Attention heads", {.min = 1, .max = 1024});
  v.field("intermediate_size", intermediate_size, "Width of the feed-forward layers",
          {.min = 1, .max = 262144});
  v.field("dropout", dropout, "Dropout while training", {.min = 0, .max = 0.99});
}

PatchSeries::Config PatchSeries::Config::tiny() {
  Config c;
  c.channels = 3;
  c.patch_length = 4;
  c.max_length = 32;
  c.kernel_size = 3;
  c.stem_size = 8;
  c.hidden_size = 16;
  c.num_hidden_layers = 2;
  c.num_attention_heads = 2;
  c.intermediate_size = 24;
  return c;
}

void PatchSeries::Config::validate() const {
  require(hidden_size % num_attention_heads == 0, "patch_series",
          "expected hidden_size to be a multiple of num_attention_heads");
  require(kernel_size % 2 == 1, "patch_series", "expected an odd kernel_size");
}

namespace {

constexpr double kEpsilon = 1e-5;

struct Layer : Module {
  explicit Layer(const PatchSeries::Config& c) : heads(c.num_attention_heads) {
    norm1 = add<LayerNorm>("norm1", c.hidden_size);
    qkv = add<Linear>("qkv", c.hidden_size, 3 * c.hidden_size);
    out = add<Linear>("out", c.hidden_size, c.hidden_size);
    norm2 = add<LayerNorm>("norm2", c.hidden_size);
    fc1 = add<Linear>("fc1", c.hidden_size, c.intermediate_size);
    fc2 = add<Linear>("fc2", c.intermediate_size, c.hidden_size);
    dropout = add<Dropout>("dropout", c.dropout);
  }
  at::Tensor operator()(const at::Tensor& in, const at::Tensor& mask) const {
    auto parts = (*qkv)((*norm1)(in)).chunk(3, -1);
    at::Tensor x = in + (*dropout)((*out)(attention(parts[0], parts[1], parts[2], heads, mask)));
    return x + (*dropout)((*fc2)(at::gelu((*fc1)((*norm2)(x)))));
  }
  int64_t heads;
  std::shared_ptr<LayerNorm> norm1, norm2;
  std::shared_ptr<Linear> qkv, out, fc1, fc2;
  std::shared_ptr<Dropout> dropout;
};

}  // namespace

class PatchLayers : public ModuleList<Layer> {};

PatchSeries::PatchSeries(Config config) : config_(std::move(config)) {
  config_.validate();
  const Config& c = config_;
  stem_ = add<Conv>("stem", 2 * c.channels, c.stem_size,
                    ConvOptions{.kernel = {c.kernel_size}, .padding = {c.kernel_size / 2}});
  patches_ = add<Conv>("patches", c.stem_size, c.hidden_size,
                       ConvOptions{.kernel = {c.patch_length}, .stride = {c.patch_length}});
  statistics_ = add<Linear>("statistics", 3 * c.channels, c.hidden_size);
  positions_ = add<Embedding>("positions", (c.max_length + c.patch_length - 1) / c.patch_length,
                              c.hidden_size);
  dropout_ = add<Dropout>("dropout", c.dropout);
  layers_ = add<PatchLayers>("layers");
  for (int64_t i = 0; i < c.num_hidden_layers; ++i) layers_->append(c);
  norm_ = add<LayerNorm>("norm", c.hidden_size);
}

EncoderOutput PatchSeries::encode(const TensorMap& inputs) {
  const at::Tensor& given = get(inputs, "values", "patch_series");
  if (given.dim() != 3 || given.size(0) == 0 || given.size(1) == 0 ||
      given.size(1) > config_.max_length || given.size(2) != config_.channels) {
    fail(ErrorCode::kInvalidArgument, "patch_series",
         "expected values [B, 1 to " + std::to_string(config_.max_length) + ", " +
             std::to_string(config_.channels) + "], got " + describe(given));
  }
  int64_t length = given.size(1);
  at::Tensor mask = check_mask(inputs, "attention_mask", given.size(0), length, "patch_series");
  auto dtype = norm_->weight.scalar_type();

  // Sensor values may be large beside their changes, so the scaling is done in fp32 whatever the
  // weights are.
  at::Tensor wide = given.to(at::kFloat);
  at::Tensor seen = at::isfinite(wide);
  if (mask.defined()) seen = at::logical_and(seen, mask.unsqueeze(-1));
  at::Tensor hidden = seen.logical_not();
  at::Tensor count = seen.sum(1, /*keepdim=*/true).clamp_min(1);
  at::Tensor mean = wide.masked_fill(hidden, 0).sum(1, true) / count;
  at::Tensor centred = (wide - mean).masked_fill(hidden, 0);
  at::Tensor spread = (centred.square().sum(1, true) / count).sqrt();
  at::Tensor scaled = centred / (spread + kEpsilon);
  at::Tensor share = seen.to(at::kFloat).sum(1, true) /
                     (mask.defined() ? mask.sum(1).clamp_min(1).view({-1, 1, 1})
                                     : at::scalar_tensor(length, wide.options()));
  at::Tensor statistics =
      at::cat({mean.sign() * mean.abs().log1p(), (spread + kEpsilon).log(), share}, -1);

  at::Tensor x = at::cat({scaled, seen.to(at::kFloat)}, -1).to(dtype).transpose(1, 2);
  x = at::gelu((*stem_)(x));
  if (mask.defined()) x = x.masked_fill(mask.logical_not().unsqueeze(1), 0);
  int64_t tail = (config_.patch_length - length % config_.patch_length) % config_.patch_length;
  x = (*patches_)(at::constant_pad_nd(x, {0, tail})).transpose(1, 2);
  x = x + positions_->weight.narrow(0, 0, x.size(1));
  x = (*dropout_)(at::cat({(*statistics_)(statistics.to(dtype)), x}, 1));

  EncoderOutput out;
  if (mask.defined()) {
    at::Tensor filled =
        at::constant_pad_nd(mask, {0, tail}).view({x.size(0), -1, config_.patch_length}).any(2);
    out.mask = at::cat({at::ones_like(filled.narrow(1, 0, 1)), filled}, 1);
  }
  at::Tensor keys = attention_mask_or_none(out.mask);
  for (const auto& layer : *layers_) x = (*layer)(x, keys);
  out.tokens = (*norm_)(x);
  out.pooled = masked_mean(out.tokens, out.mask);
  return out;
}

}  // namespace plait::models
