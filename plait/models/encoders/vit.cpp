#include "plait/models/encoders/vit.h"

#include <ATen/ATen.h>

#include "plait/core/error.h"
#include "plait/models/encoders/image_input.h"

namespace plait::models {

void VisionTransformer::Config::visit(ConfigVisitor& v) {
  v.field("image_size", image_size, "Side of the pictures it was trained on",
          {.min = 1, .max = 65536});
  v.field("patch_size", patch_size, "Side of a patch", {.min = 1, .max = 4096});
  v.field("num_channels", num_channels, "Channels of the picture", {.min = 1, .max = 1024});
  v.field("hidden_size", hidden_size, "Width of the encoder", {.min = 1, .max = 65536});
  v.field("intermediate_size", intermediate_size, "Width of the feed-forward layers",
          {.min = 1, .max = 262144});
  v.field("num_hidden_layers", num_hidden_layers, "Number of layers", {.min = 0, .max = 1000});
  v.field("num_attention_heads", num_attention_heads, "Attention heads", {.min = 1, .max = 1024});
  v.field("hidden_act", hidden_act, "Activation of the feed-forward layers");
  v.field("layer_norm_eps", layer_norm_eps, "Epsilon of the normalisation", {.min = 0, .max = 1});
  v.field("qkv_bias", qkv_bias, "Biases of query, key and value");
  v.field("class_token", class_token, "A learned token before the patches");
  v.field("patch_bias", patch_bias, "Bias of the patch embedding");
  v.field("pre_norm", pre_norm, "Normalise before the first layer (CLIP)");
  v.field("norm_tokens", norm_tokens,
          "Normalise all final tokens; off: only the pooled one (CLIP)");
  v.field("layer_scale", layer_scale, "Initial scale of the residual branches (DINOv2); 0: none",
          {.min = 0, .max = 100});
  v.field("swiglu", swiglu, "Gated feed-forward layers (DINOv2 giant)");
  v.field("pooling", pooling,
          "Pooled feature: class token, class token through a tanh layer, learned attention, mean",
          {.one_of = {"cls", "pooler", "attention", "mean"}});
  v.field("projection_dim", projection_dim, "Width of the space shared with text; 0: no projection",
          {.min = 0, .max = 65536});
  v.field("dropout", dropout, "Dropout while training", {.min = 0, .max = 0.99});
  v.field("drop_path", drop_path, "Stochastic depth while training", {.min = 0, .max = 0.99});
}

void VisionTransformer::Config::validate() const {
  require(hidden_size % num_attention_heads == 0, "vit",
          "expected hidden_size to be a multiple of num_attention_heads");
  require(image_size >= patch_size, "vit", "expected image_size to be at least patch_size");
  require((image_size / patch_size) <= 4096, "vit", "expected at most 4096 patches to a side");
  require(class_token || pooling == "attention" || pooling == "mean", "vit",
          "expected pooling \"attention\" or \"mean\" without a class token");
  check_activation(hidden_act);
}

VisionTransformer::Config VisionTransformer::Config::tiny() {
  Config c;
  c.image_size = 12;
  c.patch_size = 4;
  c.hidden_size = 24;
  c.intermediate_size = 40;
  c.num_hidden_layers = 2;
  c.num_attention_heads = 3;
  c.pooling = "pooler";
  return c;
}

VisionTransformer::Config VisionTransformer::Config::clip() {
  Config c;
  c.patch_size = 32;
  c.hidden_act = "quick_gelu";
  c.layer_norm_eps = 1e-5;
  c.patch_bias = false;
  c.pre_norm = true;
  c.norm_tokens = false;
  return c;
}

VisionTransformer::Config VisionTransformer::Config::dinov2() {
  Config c;
  c.image_size = 518;
  c.patch_size = 14;
  c.layer_norm_eps = 1e-6;
  c.layer_scale = 1.0;
  return c;
}

VisionTransformer::Config VisionTransformer::Config::siglip() {
  Config c;
  c.hidden_act = "gelu_pytorch_tanh";
  c.layer_norm_eps = 1e-6;
  c.class_token = false;
  c.pooling = "attention";
  return c;
}

class VisionTransformer::Embeddings : public Module {
 public:
  explicit Embeddings(const Config& c) : patch_(c.patch_size), grid_(c.image_size / c.patch_size) {
    if (c.class_token) cls_token_ = add_parameter("cls_token", at::zeros({1, 1, c.hidden_size}));
    positions_ =
        add_parameter("position_embeddings",
                      at::zeros({1, grid_ * grid_ + (c.class_token ? 1 : 0), c.hidden_size}));
    patches_ = add<Patches>("patch_embeddings", c);
  }

  at::Tensor operator()(const at::Tensor& pixels) const {
    at::Tensor x = map_to_tokens((*patches_->projection)(pixels));
    if (cls_token_.defined()) x = at::cat({cls_token_.expand({x.size(0), 1, -1}), x}, 1);
    return x + positions(pixels.size(2) / patch_, pixels.size(3) / patch_);
  }

  void reset_parameters(at::Generator& generator) override {
    if (cls_token_.defined()) cls_token_.normal_(0, 0.02, generator);
    positions_.normal_(0, 0.02, generator);
  }

 private:
  struct Patches : Module {
    explicit Patches(const Config& c)
        : projection(add<Conv>("projection", c.num_channels, c.hidden_size,
                               ConvOptions{.kernel = {c.patch_size, c.patch_size},
                                           .stride = {c.patch_size},
                                           .bias = c.patch_bias})) {}
    std::shared_ptr<Conv> projection;
  };

  /// The learned positions, resampled when the picture has another size.
  at::Tensor positions(int64_t rows, int64_t columns) const {
    if (rows == grid_ && columns == grid_) return positions_;
    int64_t offset = cls_token_.defined() ? 1 : 0;
    at::Tensor grid =
        positions_.slice(1, offset).reshape({1, grid_, grid_, -1}).permute({0, 3, 1, 2});
    // In float32: bicubic weights in half precision would shift the embeddings.
    grid = at::upsample_bicubic2d(grid.to(at::kFloat), {rows, columns}, /*align_corners=*/false);
    at::Tensor resampled = map_to_tokens(grid.to(positions_.scalar_type()));
    return offset ? at::cat({positions_.slice(1, 0, 1), resampled}, 1) : resampled;
  }

  int64_t patch_, grid_;
  at::Tensor cls_token_, positions_;
  std::shared_ptr<Patches> patches_;
};

class VisionTransformer::Attention : public Module {
 public:
  explicit Attention(const Config& c) : heads_(c.num_attention_heads) {
    q_ = add<Linear>("q_proj", c.hidden_size, c.hidden_size, c.qkv_bias);
    k_ = add<Linear>("k_proj", c.hidden_size, c.hidden_size, c.qkv_bias);
    v_ = add<Linear>("v_proj", c.hidden_size, c.hidden_size, c.qkv_bias);
    out_ = add<Linear>("out_proj", c.hidden_size, c.hidden_size);
  }
  at::Tensor operator()(const at::Tensor& x) const {
    return (*out_)(attention((*q_)(x), (*k_)(x), (*v_)(x), heads_));
  }

 private:
  int64_t heads_;
  std::shared_ptr<Linear> q_, k_, v_, out_;
};

class VisionTransformer::Mlp : public Module {
 public:
  explicit Mlp(const Config& c) : act_(c.hidden_act), gated_(c.swiglu) {
    int64_t wide = c.intermediate_size;
    in_ = add<Linear>(gated_ ? "weights_in" : "fc1", c.hidden_size, gated_ ? 2 * wide : wide);
    out_ = add<Linear>(gated_ ? "weights_out" : "fc2", wide, c.hidden_size);
  }
  at::Tensor operator()(const at::Tensor& x) const {
    at::Tensor wide = (*in_)(x);
    if (!gated_) return (*out_)(activate(act_, wide));
    auto halves = wide.chunk(2, -1);
    return (*out_)(at::silu(halves[0]) * halves[1]);
  }

 private:
  std::string act_;
  bool gated_;
  std::shared_ptr<Linear> in_, out_;
};

class VisionTransformer::Layer : public Module {
 public:
  explicit Layer(const Config& c) : drop_path_(c.drop_path), initial_scale_(c.layer_scale) {
    norm1_ = add<LayerNorm>("layer_norm1", c.hidden_size, c.layer_norm_eps);
    attention_ = add<Attention>("self_attn", c);
    norm2_ = add<LayerNorm>("layer_norm2", c.hidden_size, c.layer_norm_eps);
    mlp_ = add<Mlp>("mlp", c);
    dropout_ = add<Dropout>("dropout", c.dropout);
    if (c.layer_scale > 0) {
      scale1_ = add_parameter("layer_scale1", at::full({c.hidden_size}, c.layer_scale));
      scale2_ = add_parameter("layer_scale2", at::full({c.hidden_size}, c.layer_scale));
    }
  }
  at::Tensor operator()(const at::Tensor& input) const {
    at::Tensor x = input + branch((*attention_)((*norm1_)(input)), scale1_);
    return x + branch((*mlp_)((*norm2_)(x)), scale2_);
  }
  void reset_parameters(at::Generator&) override {
    if (scale1_.defined()) scale1_.fill_(initial_scale_), scale2_.fill_(initial_scale_);
  }

 private:
  at::Tensor branch(at::Tensor x, const at::Tensor& scale) const {
    x = (*dropout_)(x);
    if (scale.defined()) x = x * scale;
    return training() ? drop_path(x, drop_path_, generator()) : x;
  }

  double drop_path_, initial_scale_;
  std::shared_ptr<LayerNorm> norm1_, norm2_;
  std::shared_ptr<Attention> attention_;
  std::shared_ptr<Mlp> mlp_;
  std::shared_ptr<Dropout> dropout_;
  at::Tensor scale1_, scale2_;
};

struct VisionTransformer::Layers : Module {
  explicit Layers(const Config& c) : layers(add<ModuleList<Layer>>("layers")) {
    for (int64_t i = 0; i < c.num_hidden_layers; ++i) layers->append(c);
  }
  std::shared_ptr<ModuleList<Layer>> layers;
};

/// SigLIP's pooling: one learned query attends to all tokens.
class VisionTransformer::PoolingHead : public Module {
 public:
  explicit PoolingHead(const Config& c) : heads_(c.num_attention_heads), width_(c.hidden_size) {
    probe_ = add_parameter("probe", at::zeros({1, 1, width_}));
    attention_ = add<Projections>("attention", width_);
    norm_ = add<LayerNorm>("layernorm", width_, c.layer_norm_eps);
    Config plain = c;
    plain.swiglu = false;
    mlp_ = add<Mlp>("mlp", plain);
  }
  at::Tensor operator()(const at::Tensor& tokens) const {
    auto w = attention_->in_weight.chunk(3), b = attention_->in_bias.chunk(3);
    at::Tensor q = at::linear(probe_.expand({tokens.size(0), 1, -1}), w[0], b[0]);
    at::Tensor x =
        attention(q, at::linear(tokens, w[1], b[1]), at::linear(tokens, w[2], b[2]), heads_);
    x = (*attention_->out)(x);
    return (x + (*mlp_)((*norm_)(x))).select(1, 0);
  }
  void reset_parameters(at::Generator& generator) override { probe_.normal_(0, 0.02, generator); }

 private:
  /// The parameters of torch.nn.MultiheadAttention, in which query, key and value share one matrix.
  struct Projections : Module {
    explicit Projections(int64_t width) {
      in_weight = add_parameter("in_proj_weight", at::zeros({3 * width, width}));
      in_bias = add_parameter("in_proj_bias", at::zeros({3 * width}));
      out = add<Linear>("out_proj", width, width);
    }
    void reset_parameters(at::Generator& generator) override {
      in_weight.normal_(0, 0.02, generator);
    }
    at::Tensor in_weight, in_bias;
    std::shared_ptr<Linear> out;
  };

  int64_t heads_, width_;
  at::Tensor probe_;
  std::shared_ptr<Projections> attention_;
  std::shared_ptr<LayerNorm> norm_;
  std::shared_ptr<Mlp> mlp_;
};

VisionTransformer::VisionTransformer(const Config& c) : config_(c) {
  c.validate();
  embeddings_ = add<Embeddings>("embeddings", c);
  if (c.pre_norm) pre_norm_ = add<LayerNorm>("pre_layrnorm", c.hidden_size, c.layer_norm_eps);
  encoder_ = add<Layers>("encoder", c);
  post_norm_ = add<LayerNorm>("layernorm", c.hidden_size, c.layer_norm_eps);
  if (c.pooling == "pooler") pooler_ = add<Linear>("pooler", c.hidden_size, c.hidden_size);
  if (c.pooling == "attention") head_ = add<PoolingHead>("head", c);
  if (c.projection_dim > 0)
    projection_ = add<Linear>("visual_projection", c.hidden_size, c.projection_dim, false);
}

VisionTransformer::~VisionTransformer() = default;

EncoderOutput VisionTransformer::encode(const TensorMap& inputs) {
  const at::Tensor& pixels = pixel_values(inputs, config_.num_channels, config_.patch_size, "vit");
  at::Tensor x = (*embeddings_)(pixels);
  if (pre_norm_) x = (*pre_norm_)(x);
  for (const auto& layer : *encoder_->layers) x = (*layer)(x);
  if (config_.norm_tokens) x = (*post_norm_)(x);

  at::Tensor pooled;
  if (head_) {
    pooled = (*head_)(x);
  } else {
    pooled = config_.pooling == "mean" ? x.mean(1) : x.select(1, 0);
    if (!config_.norm_tokens) pooled = (*post_norm_)(pooled);
    if (pooler_) pooled = at::tanh((*pooler_)(pooled));
  }
  return {.tokens = x, .mask = {}, .pooled = pooled};
}

TensorMap VisionTransformer::forward(const TensorMap& inputs) {
  EncoderOutput out = encode(inputs);
  TensorMap named = {{"last_hidden_state", out.tokens}, {"pooled", out.pooled}};
  if (projection_) named["embedding"] = (*projection_)(out.pooled);
  return named;
}

}  // namespace plait::models
