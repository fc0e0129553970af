#include "plait/models/encoders/videomae.h"

#include <ATen/ATen.h>

#include <cmath>

#include "plait/core/error.h"

namespace plait::models {

void VideoMae::Config::visit(ConfigVisitor& v) {
  v.field("image_size", image_size, "Side of the frames", {.min = 1, .max = 65536});
  v.field("patch_size", patch_size, "Side of a tubelet", {.min = 1, .max = 4096});
  v.field("num_channels", num_channels, "Channels of the frames", {.min = 1, .max = 1024});
  v.field("num_frames", num_frames, "Frames of a clip", {.min = 1, .max = 4096});
  v.field("tubelet_size", tubelet_size, "Frames of a tubelet", {.min = 1, .max = 4096});
  v.field("hidden_size", hidden_size, "Width of the encoder", {.min = 1, .max = 65536});
  v.field("num_hidden_layers", num_hidden_layers, "Number of layers", {.min = 0, .max = 1000});
  v.field("num_attention_heads", num_attention_heads, "Attention heads", {.min = 1, .max = 1024});
  v.field("intermediate_size", intermediate_size, "Width of the feed-forward layers",
          {.min = 1, .max = 262144});
  v.field("hidden_act", hidden_act, "Activation of the feed-forward layers");
  v.field("layer_norm_eps", layer_norm_eps, "Epsilon of the normalisation", {.min = 0, .max = 1});
  v.field("qv_bias", qv_bias, "Biases of query and value; the key has none");
  v.field("use_mean_pooling", use_mean_pooling,
          "Pooled feature: mean of the tokens; off: the first, all of them normalised");
  v.field("dropout", dropout, "Dropout while training", {.min = 0, .max = 0.99});
  v.field("num_classes", num_classes, "Classes of the classifier; 0 leaves it out",
          {.min = 0, .max = 1e6});
}

void VideoMae::Config::validate() const {
  require(hidden_size % num_attention_heads == 0, "videomae",
          "expected hidden_size to be a multiple of num_attention_heads");
  require(image_size >= patch_size && num_frames >= tubelet_size, "videomae",
          "expected a clip of at least one tubelet");
  int64_t side = image_size / patch_size;
  require(side <= 4096 && side * side <= (int64_t{1} << 24) / (num_frames / tubelet_size),
          "videomae", "expected at most 16 million tubelets");
  check_activation(hidden_act);
}

VideoMae::Config VideoMae::Config::tiny() {
  Config c;
  c.image_size = 8;
  c.patch_size = 4;
  c.num_frames = 4;
  c.hidden_size = 16;
  c.num_hidden_layers = 2;
  c.num_attention_heads = 2;
  c.intermediate_size = 24;
  c.num_classes = 3;
  return c;
}

struct VideoMae::Embeddings : Module {
  struct Tubelets : Module {
    explicit Tubelets(const Config& c) {
      std::vector<int64_t> size = {c.tubelet_size, c.patch_size, c.patch_size};
      projection = add<Conv>("projection", c.num_channels, c.hidden_size,
                             ConvOptions{.kernel = size, .stride = size});
    }
    std::shared_ptr<Conv> projection;
  };
  explicit Embeddings(const Config& c) { tubelets = add<Tubelets>("patch_embeddings", c); }
  std::shared_ptr<Tubelets> tubelets;
};

struct VideoMae::Attention : Module {
  struct Projections : Module {
    explicit Projections(const Config& c) {
      query = add<Linear>("query", c.hidden_size, c.hidden_size, c.qv_bias);
      key = add<Linear>("key", c.hidden_size, c.hidden_size, /*bias=*/false);
      value = add<Linear>("value", c.hidden_size, c.hidden_size, c.qv_bias);
    }
    std::shared_ptr<Linear> query, key, value;
  };
  struct Output : Module {
    Output(int64_t in, int64_t out) { dense = add<Linear>("dense", in, out); }
    std::shared_ptr<Linear> dense;
  };
  explicit Attention(const Config& c) : heads(c.num_attention_heads) {
    projections = add<Projections>("attention", c);
    output = add<Output>("output", c.hidden_size, c.hidden_size);
  }
  at::Tensor operator()(const at::Tensor& x) const {
    return (*output->dense)(attention((*projections->query)(x), (*projections->key)(x),
                                      (*projections->value)(x), heads));
  }
  int64_t heads;
  std::shared_ptr<Projections> projections;
  std::shared_ptr<Output> output;
};

struct VideoMae::Layer : Module {
  explicit Layer(const Config& c) : act(c.hidden_act) {
    attention = add<Attention>("attention", c);
    intermediate = add<Attention::Output>("intermediate", c.hidden_size, c.intermediate_size);
    output = add<Attention::Output>("output", c.intermediate_size, c.hidden_size);
    before = add<LayerNorm>("layernorm_before", c.hidden_size, c.layer_norm_eps);
    after = add<LayerNorm>("layernorm_after", c.hidden_size, c.layer_norm_eps);
    dropout = add<Dropout>("dropout", c.dropout);
  }
  at::Tensor operator()(const at::Tensor& in) const {
    at::Tensor x = in + (*dropout)((*attention)((*before)(in)));
    return x + (*dropout)((*output->dense)(activate(act, (*intermediate->dense)((*after)(x)))));
  }
  std::string act;
  std::shared_ptr<Attention> attention;
  std::shared_ptr<Attention::Output> intermediate, output;
  std::shared_ptr<LayerNorm> before, after;
  std::shared_ptr<Dropout> dropout;
};

struct VideoMae::Layers : Module {
  explicit Layers(const Config& c) : layers(add<ModuleList<Layer>>("layer")) {
    for (int64_t i = 0; i < c.num_hidden_layers; ++i) layers->append(c);
  }
  std::shared_ptr<ModuleList<Layer>> layers;
};

namespace {

/// The sinusoids of Vaswani et al. (2017): sine and cosine side by side. [1, count, width]
at::Tensor sinusoids(int64_t count, int64_t width) {
  at::Tensor out = at::empty({1, count, width}, at::kFloat);
  float* to = out.mutable_data_ptr<float>();
  for (int64_t i = 0; i < width; ++i) {
    double rate = std::pow(10000.0, -2.0 * static_cast<double>(i / 2) / static_cast<double>(width));
    for (int64_t t = 0; t < count; ++t) {
      double angle = static_cast<double>(t) * rate;
      to[t * width + i] = static_cast<float>(i % 2 ? std::cos(angle) : std::sin(angle));
    }
  }
  return out;
}

}  // namespace

VideoMae::VideoMae(const Config& c) : config_(c) {
  c.validate();
  int64_t side = c.image_size / c.patch_size;
  positions_ = add_buffer("positions",
                          sinusoids(side * side * (c.num_frames / c.tubelet_size), c.hidden_size),
                          /*persistent=*/false);
  embeddings_ = add<Embeddings>("embeddings", c);
  encoder_ = add<Layers>("encoder", c);
  if (!c.use_mean_pooling)
    layernorm_ = add<LayerNorm>("layernorm", c.hidden_size, c.layer_norm_eps);
  if (c.num_classes == 0) return;
  if (c.use_mean_pooling) fc_norm_ = add<LayerNorm>("fc_norm", c.hidden_size, 1e-5);
  classifier_ = add<Linear>("classifier", c.hidden_size, c.num_classes);
}

VideoMae::~VideoMae() = default;

EncoderOutput VideoMae::encode(const TensorMap& inputs) {
  const at::Tensor& pixels = get(inputs, "pixel_values", "videomae");
  const Config& c = config_;
  if (pixels.dim() != 5 || pixels.size(0) < 1 || pixels.size(1) != c.num_frames ||
      pixels.size(2) != c.num_channels || pixels.size(3) != c.image_size ||
      pixels.size(4) != c.image_size || !pixels.is_floating_point()) {
    fail(ErrorCode::kInvalidArgument, "videomae",
         "expected pixel_values [B, " + std::to_string(c.num_frames) + ", " +
             std::to_string(c.num_channels) + ", " + std::to_string(c.image_size) + ", " +
             std::to_string(c.image_size) + "] floating point, got " + describe(pixels));
  }
  at::Tensor x = (*embeddings_->tubelets->projection)(pixels.transpose(1, 2));
  x = x.flatten(2).transpose(1, 2);
  x = x + positions_.to(x.scalar_type());
  for (const auto& layer : *encoder_->layers) x = (*layer)(x);
  if (layernorm_) x = (*layernorm_)(x);
  at::Tensor pooled = c.use_mean_pooling ? x.mean(1) : x.select(1, 0);
  if (fc_norm_) pooled = (*fc_norm_)(pooled);
  return {.tokens = x, .mask = {}, .pooled = pooled};
}

TensorMap VideoMae::forward(const TensorMap& inputs) {
  EncoderOutput out = encode(inputs);
  TensorMap named = {{"last_hidden_state", out.tokens}, {"pooled", out.pooled}};
  if (classifier_) named["logits"] = (*classifier_)(out.pooled);
  return named;
}

}  // namespace plait::models
