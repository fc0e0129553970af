#include "plait/models/encoders/wav2vec2.h"

#include <ATen/ATen.h>

#include "plait/core/error.h"
#include "plait/models/encoders/common.h"

namespace plait::models {

void Wav2Vec2::Config::visit(ConfigVisitor& v) {
  v.field("hidden_size", hidden_size, "Width D of the tokens", {.min = 1, .max = 65536});
  v.field("num_hidden_layers", num_hidden_layers, "Transformer layers", {.min = 1, .max = 1024});
  v.field("num_attention_heads", num_attention_heads, "Attention heads", {.min = 1, .max = 1024});
  v.field("intermediate_size", intermediate_size, "Width of the feed-forward layers",
          {.min = 1, .max = 262144});
  v.field("hidden_act", hidden_act, "Activation of the feed-forward layers");
  v.field("hidden_dropout", hidden_dropout, "Dropout while training", {.min = 0, .max = 0.99});
  v.field("layer_norm_eps", layer_norm_eps, "Epsilon of the Transformer's normalisation",
          {.min = 0, .max = 1});
  v.field("feat_extract_norm", feat_extract_norm,
          "Normalisation of the convolutions: the first one's by channel, or all by layer",
          {.one_of = {"group", "layer"}});
  v.field("feat_extract_activation", feat_extract_activation, "Activation of the convolutions");
  v.field("conv_dim", conv_dim, "Channels of each convolution");
  v.field("conv_stride", conv_stride, "Stride of each convolution");
  v.field("conv_kernel", conv_kernel, "Kernel of each convolution");
  v.field("conv_bias", conv_bias, "Whether the convolutions have a bias");
  v.field("num_conv_pos_embeddings", num_conv_pos_embeddings,
          "Kernel of the positional convolution", {.min = 1, .max = 4096});
  v.field("num_conv_pos_embedding_groups", num_conv_pos_embedding_groups,
          "Groups of the positional convolution", {.min = 1, .max = 4096});
  v.field("do_stable_layer_norm", do_stable_layer_norm,
          "Normalise before each Transformer step, not after it");
}

Wav2Vec2::Config Wav2Vec2::Config::tiny() {
  Config c;
  c.hidden_size = 16;
  c.num_hidden_layers = 2;
  c.num_attention_heads = 2;
  c.intermediate_size = 24;
  c.feat_extract_norm = "layer";
  c.conv_dim = {8, 8, 12};
  c.conv_stride = {5, 2, 2};
  c.conv_kernel = {10, 3, 2};
  c.conv_bias = true;
  c.num_conv_pos_embeddings = 8;
  c.num_conv_pos_embedding_groups = 4;
  c.do_stable_layer_norm = true;
  return c;
}

void Wav2Vec2::Config::validate() const {
  require(hidden_size % num_attention_heads == 0, "wav2vec2",
          "expected hidden_size to be a multiple of num_attention_heads");
  require(hidden_size % num_conv_pos_embedding_groups == 0, "wav2vec2",
          "expected hidden_size to be a multiple of num_conv_pos_embedding_groups");
  require(!conv_dim.empty() && conv_dim.size() <= 64 && conv_dim.size() == conv_stride.size() &&
              conv_dim.size() == conv_kernel.size(),
          "wav2vec2", "expected conv_dim, conv_stride and conv_kernel of one length, 1 to 64");
  for (size_t i = 0; i < conv_dim.size(); ++i) {
    require(conv_dim[i] > 0 && conv_dim[i] <= 65536 && conv_stride[i] > 0 &&
                conv_stride[i] <= 4096 && conv_kernel[i] > 0 && conv_kernel[i] <= 4096,
            "wav2vec2",
            "expected conv_dim in [1, 65536], conv_stride and conv_kernel in [1, 4096]");
  }
  check_activation(hidden_act);
  check_activation(feat_extract_activation);
}

namespace {

enum class Norm { kNone, kGroup, kLayer };

/// Mean and variance of each channel over the real frames only. x [B, C, T], mask [B, T] or
/// undefined.
at::Tensor normalise_channels(const GroupNorm& norm, const at::Tensor& x, const at::Tensor& mask) {
  if (!mask.defined()) return norm(x);
  at::Tensor real = mask.unsqueeze(1);
  at::Tensor count = real.sum(2, /*keepdim=*/true).clamp_min(1);
  at::Tensor wide = x.to(at::kFloat);
  at::Tensor mean = wide.masked_fill(real.logical_not(), 0).sum(2, true) / count;
  at::Tensor centred = (wide - mean).masked_fill(real.logical_not(), 0);
  at::Tensor scale = at::rsqrt(centred.square().sum(2, true) / count + norm.eps);
  return (centred * scale).to(x.scalar_type()) * norm.weight.unsqueeze(-1) +
         norm.bias.unsqueeze(-1);
}

struct ConvLayer : Module {
  ConvLayer(const Wav2Vec2::Config& c, size_t i, Norm norm) : act(c.feat_extract_activation) {
    conv = add<Conv>(
        "conv", i == 0 ? 1 : c.conv_dim[i - 1], c.conv_dim[i],
        ConvOptions{
            .kernel = {c.conv_kernel[i]}, .stride = {c.conv_stride[i]}, .bias = c.conv_bias});
    if (norm == Norm::kGroup) group = add<GroupNorm>("layer_norm", c.conv_dim[i], c.conv_dim[i]);
    if (norm == Norm::kLayer) layer = add<LayerNorm>("layer_norm", c.conv_dim[i]);
  }
  at::Tensor operator()(const at::Tensor& in, const at::Tensor& mask) const {
    at::Tensor x = (*conv)(in);
    if (group) x = normalise_channels(*group, x, mask);
    if (layer) x = (*layer)(x.transpose(1, 2)).transpose(1, 2);
    return activate(act, x);
  }
  std::shared_ptr<Conv> conv;
  std::shared_ptr<GroupNorm> group;
  std::shared_ptr<LayerNorm> layer;
  std::string act;
};

/// A convolution whose weight is direction times length, per kernel position (weight normalisation
/// over dimension 2).
struct NormalisedConv : Module {
  explicit NormalisedConv(const Wav2Vec2::Config& c)
      : groups(c.num_conv_pos_embedding_groups), padding(c.num_conv_pos_embeddings / 2) {
    bias = add_parameter("bias", at::zeros({c.hidden_size}));
    auto weight = std::make_shared<Weight>(c);
    length = weight->length;
    direction = weight->direction;
    struct Holder : Module {
      explicit Holder(std::shared_ptr<Weight> w) { add_child("weight", std::move(w)); }
    };
    add_child("parametrizations", std::make_shared<Holder>(weight));
  }
  at::Tensor operator()(const at::Tensor& x) const {
    at::Tensor weight = direction * (length / direction.norm(2, {0, 1}, /*keepdim=*/true));
    return at::conv1d(x, weight, bias, 1, padding, 1, groups);
  }

  struct Weight : Module {
    explicit Weight(const Wav2Vec2::Config& c) {
      length = add_parameter("original0", at::ones({1, 1, c.num_conv_pos_embeddings}));
      direction = add_parameter(
          "original1", at::ones({c.hidden_size, c.hidden_size / c.num_conv_pos_embedding_groups,
                                 c.num_conv_pos_embeddings}));
    }
    void reset_parameters(at::Generator& generator) override {
      direction.normal_(
          0, 2 / std::sqrt(static_cast<double>(direction.size(2) * direction.size(0))), generator);
      length.copy_(direction.norm(2, {0, 1}, /*keepdim=*/true));
    }
    at::Tensor length, direction;
  };
  int64_t groups, padding;
  at::Tensor bias, length, direction;
};

struct PositionalConv : Module {
  explicit PositionalConv(const Wav2Vec2::Config& c)
      : conv(add<NormalisedConv>("conv", c)), act(c.feat_extract_activation) {}
  at::Tensor operator()(const at::Tensor& x) const {
    at::Tensor y = (*conv)(x.transpose(1, 2));
    // An even kernel gives one token more than it got.
    return activate(act, y.narrow(2, 0, x.size(1))).transpose(1, 2);
  }
  std::shared_ptr<NormalisedConv> conv;
  std::string act;
};

struct FeedForward : Module {
  explicit FeedForward(const Wav2Vec2::Config& c)
      : in(add<Linear>("intermediate_dense", c.hidden_size, c.intermediate_size)),
        out(add<Linear>("output_dense", c.intermediate_size, c.hidden_size)),
        act(c.hidden_act) {}
  at::Tensor operator()(const at::Tensor& x) const { return (*out)(activate(act, (*in)(x))); }
  std::shared_ptr<Linear> in, out;
  std::string act;
};

struct Layer : Module {
  explicit Layer(const Wav2Vec2::Config& c)
      : attention(add<SelfAttention>("attention", c.hidden_size, c.num_attention_heads)),
        norm(add<LayerNorm>("layer_norm", c.hidden_size, c.layer_norm_eps)),
        feed_forward(add<FeedForward>("feed_forward", c)),
        final_norm(add<LayerNorm>("final_layer_norm", c.hidden_size, c.layer_norm_eps)),
        dropout(add<Dropout>("dropout", c.hidden_dropout)),
        norm_first(c.do_stable_layer_norm) {}
  at::Tensor operator()(const at::Tensor& in, const at::Tensor& mask) const {
    if (norm_first) {
      at::Tensor x = in + (*dropout)((*attention)((*norm)(in), mask));
      return x + (*dropout)((*feed_forward)((*final_norm)(x)));
    }
    at::Tensor x = (*norm)(in + (*dropout)((*attention)(in, mask)));
    return (*final_norm)(x + (*dropout)((*feed_forward)(x)));
  }
  std::shared_ptr<SelfAttention> attention;
  std::shared_ptr<LayerNorm> norm;
  std::shared_ptr<FeedForward> feed_forward;
  std::shared_ptr<LayerNorm> final_norm;
  std::shared_ptr<Dropout> dropout;
  bool norm_first;
};

int64_t conv_length(int64_t length, int64_t kernel, int64_t stride) {
  return length < kernel ? 0 : (length - kernel) / stride + 1;
}

/// [B] lengths → bool [B, count], true for the first of each row.
at::Tensor mask_of(const at::Tensor& lengths, int64_t count) {
  return at::arange(count, lengths.options()).unsqueeze(0) < lengths.unsqueeze(1);
}

}  // namespace

class Wav2Vec2Features : public Module {
 public:
  explicit Wav2Vec2Features(const Wav2Vec2::Config& c)
      : layers_(add<ModuleList<ConvLayer>>("conv_layers")), config_(c) {
    for (size_t i = 0; i < c.conv_dim.size(); ++i) {
      Norm norm = c.feat_extract_norm == "layer" ? Norm::kLayer
                  : i == 0                       ? Norm::kGroup
                                                 : Norm::kNone;
      layers_->append(c, i, norm);
    }
  }
  /// [B, N] and real samples per row (or undefined) → [B, T, C] and tokens per row in `lengths`.
  at::Tensor operator()(const at::Tensor& samples, at::Tensor& lengths) const {
    at::Tensor x = samples.unsqueeze(1);
    for (size_t i = 0; i < layers_->size(); ++i) {
      at::Tensor mask;
      if (lengths.defined()) {
        lengths = (at::floor_divide(lengths - config_.conv_kernel[i], config_.conv_stride[i]) + 1)
                      .clamp_min(0);
        if (i == 0 && config_.feat_extract_norm == "group") {
          mask = mask_of(lengths,
                         conv_length(x.size(2), config_.conv_kernel[i], config_.conv_stride[i]));
        }
      }
      x = (*layers_)[i](x, mask);
    }
    return x.transpose(1, 2);
  }

 private:
  std::shared_ptr<ModuleList<ConvLayer>> layers_;
  Wav2Vec2::Config config_;
};

class Wav2Vec2Projection : public Module {
 public:
  explicit Wav2Vec2Projection(const Wav2Vec2::Config& c)
      : norm_(add<LayerNorm>("layer_norm", c.conv_dim.back(), c.layer_norm_eps)),
        projection_(add<Linear>("projection", c.conv_dim.back(), c.hidden_size)) {}
  at::Tensor operator()(const at::Tensor& x) const { return (*projection_)((*norm_)(x)); }

 private:
  std::shared_ptr<LayerNorm> norm_;
  std::shared_ptr<Linear> projection_;
};

class Wav2Vec2Layers : public Module {
 public:
  explicit Wav2Vec2Layers(const Wav2Vec2::Config& c)
      : positions_(add<PositionalConv>("pos_conv_embed", c)),
        norm_(add<LayerNorm>("layer_norm", c.hidden_size, c.layer_norm_eps)),
        layers_(add<ModuleList<Layer>>("layers")),
        dropout_(add<Dropout>("dropout", c.hidden_dropout)),
        norm_first_(c.do_stable_layer_norm) {
    for (int64_t i = 0; i < c.num_hidden_layers; ++i) layers_->append(c);
  }
  at::Tensor operator()(const at::Tensor& in, const at::Tensor& mask) const {
    at::Tensor x = zero_padding(in, mask);
    x = x + (*positions_)(x);
    if (!norm_first_) x = (*norm_)(x);
    x = (*dropout_)(x);
    at::Tensor keys = attention_mask_or_none(mask);
    for (const auto& layer : *layers_) x = (*layer)(x, keys);
    return norm_first_ ? (*norm_)(x) : x;
  }

 private:
  std::shared_ptr<PositionalConv> positions_;
  std::shared_ptr<LayerNorm> norm_;
  std::shared_ptr<ModuleList<Layer>> layers_;
  std::shared_ptr<Dropout> dropout_;
  bool norm_first_;
};

Wav2Vec2::Wav2Vec2(Config config) : config_(std::move(config)) {
  config_.validate();
  features_ = add<Wav2Vec2Features>("feature_extractor", config_);
  projection_ = add<Wav2Vec2Projection>("feature_projection", config_);
  encoder_ = add<Wav2Vec2Layers>("encoder", config_);
}

int64_t Wav2Vec2::token_count(int64_t samples) const {
  for (size_t i = 0; i < config_.conv_kernel.size(); ++i) {
    samples = conv_length(samples, config_.conv_kernel[i], config_.conv_stride[i]);
  }
  return samples;
}

EncoderOutput Wav2Vec2::encode(const TensorMap& inputs) {
  const at::Tensor& samples = get(inputs, "input_values", "wav2vec2");
  if (samples.dim() != 2 || samples.size(0) == 0 || token_count(samples.size(1)) == 0) {
    fail(
        ErrorCode::kInvalidArgument, "wav2vec2",
        "expected input_values [B, N] with enough samples for one token, got " + describe(samples));
  }
  at::Tensor real =
      check_mask(inputs, "attention_mask", samples.size(0), samples.size(1), "wav2vec2");
  at::Tensor lengths = real.defined() ? real.sum(1) : at::Tensor();
  at::Tensor x = samples.to(projection_->parameters().front().scalar_type());
  if (real.defined()) x = x.masked_fill(real.logical_not(), 0);

  EncoderOutput out;
  x = (*features_)(x, lengths);
  if (lengths.defined()) out.mask = mask_of(lengths, x.size(1));
  out.tokens = (*encoder_)((*projection_)(x), out.mask);
  out.pooled = masked_mean(out.tokens, out.mask);
  return out;
}

}  // namespace plait::models
