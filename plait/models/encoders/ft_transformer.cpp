#include "plait/models/encoders/ft_transformer.h"

#include <ATen/ATen.h>

#include <cmath>

#include "plait/core/error.h"
#include "plait/models/encoders/common.h"

namespace plait::models {

void FtTransformer::Config::visit(ConfigVisitor& v) {
  v.field("numeric_fields", numeric_fields, "Number of numeric fields F", {.min = 0, .max = 65536});
  v.field("cardinalities", cardinalities, "Number of values of each categorical field", {});
  v.field("hidden_size", hidden_size, "Width D of the tokens", {.min = 1, .max = 65536});
  v.field("num_hidden_layers", num_hidden_layers, "Transformer layers", {.min = 1, .max = 1024});
  v.field("num_attention_heads", num_attention_heads, "Attention heads", {.min = 2, .max = 1024});
  v.field("intermediate_size", intermediate_size, "Width of the feed-forward layers",
          {.min = 1, .max = 262144});
  v.field("dropout", dropout, "Dropout of the feed-forward layers while training",
          {.min = 0, .max = 0.99});
}

FtTransformer::Config FtTransformer::Config::tiny() {
  Config c;
  c.numeric_fields = 3;
  c.cardinalities = {4, 5};
  c.hidden_size = 16;
  c.num_hidden_layers = 2;
  c.num_attention_heads = 2;
  c.intermediate_size = 24;
  return c;
}

void FtTransformer::Config::validate() const {
  require(numeric_fields > 0 || !cardinalities.empty(), "ft_transformer",
          "expected at least one field");
  require(cardinalities.size() <= 65536, "ft_transformer",
          "expected at most 65536 categorical fields");
  for (int64_t n : cardinalities) {
    require(n > 0 && n <= 10'000'000, "ft_transformer", "expected cardinalities in [1, 10000000]");
  }
  require(hidden_size % num_attention_heads == 0, "ft_transformer",
          "expected hidden_size to be a multiple of num_attention_heads");
}

namespace {

void uniform(at::Tensor weight, int64_t width, at::Generator& generator) {
  double bound = 1 / std::sqrt(static_cast<double>(width));
  weight.uniform_(-bound, bound, generator);
}

struct FieldEmbedding : Module {
  FieldEmbedding(int64_t count, int64_t width) {
    weight = add_parameter("weight", at::zeros({count, width}));
  }
  void reset_parameters(at::Generator& generator) override {
    uniform(weight, weight.size(1), generator);
  }
  at::Tensor weight;
};

struct Attention : Module {
  explicit Attention(const FtTransformer::Config& c) : heads(c.num_attention_heads) {
    q = add<Linear>("W_q", c.hidden_size, c.hidden_size);
    k = add<Linear>("W_k", c.hidden_size, c.hidden_size);
    v = add<Linear>("W_v", c.hidden_size, c.hidden_size);
    out = add<Linear>("W_out", c.hidden_size, c.hidden_size);
  }
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& mask) const {
    return (*out)(attention((*q)(x), (*k)(x), (*v)(x), heads, mask));
  }
  int64_t heads;
  std::shared_ptr<Linear> q, k, v, out;
};

struct FeedForward : Module {
  explicit FeedForward(const FtTransformer::Config& c)
      : in(add<Linear>("linear1", c.hidden_size, 2 * c.intermediate_size)),
        out(add<Linear>("linear2", c.intermediate_size, c.hidden_size)),
        dropout(add<Dropout>("dropout", c.dropout)) {}
  at::Tensor operator()(const at::Tensor& x) const {
    auto halves = (*in)(x).chunk(2, -1);
    return (*out)((*dropout)(halves[0] * at::relu(halves[1])));
  }
  std::shared_ptr<Linear> in, out;
  std::shared_ptr<Dropout> dropout;
};

struct Block : Module {
  /// The first block has no normalisation before its attention.
  Block(const FtTransformer::Config& c, bool first)
      : attention(add<Attention>("attention", c)),
        ffn_norm(add<LayerNorm>("ffn_normalization", c.hidden_size)),
        ffn(add<FeedForward>("ffn", c)) {
    if (!first) attention_norm = add<LayerNorm>("attention_normalization", c.hidden_size);
  }
  at::Tensor operator()(const at::Tensor& in, const at::Tensor& mask) const {
    at::Tensor x = in + (*attention)(attention_norm ? (*attention_norm)(in) : in, mask);
    return x + (*ffn)((*ffn_norm)(x));
  }
  std::shared_ptr<Attention> attention;
  std::shared_ptr<LayerNorm> ffn_norm, attention_norm;
  std::shared_ptr<FeedForward> ffn;
};

}  // namespace

class FtBackbone : public Module {
 public:
  explicit FtBackbone(const FtTransformer::Config& c) : blocks_(add<ModuleList<Block>>("blocks")) {
    for (int64_t i = 0; i < c.num_hidden_layers; ++i) blocks_->append(c, i == 0);
  }
  at::Tensor operator()(at::Tensor x, const at::Tensor& mask) const {
    for (const auto& block : *blocks_) x = (*block)(x, mask);
    return x;
  }

 private:
  std::shared_ptr<ModuleList<Block>> blocks_;
};

struct FtTransformer::Cls : Module {
  explicit Cls(int64_t width) { weight = add_parameter("weight", at::zeros({width})); }
  void reset_parameters(at::Generator& generator) override {
    uniform(weight, weight.size(0), generator);
  }
  at::Tensor weight;
};

/// A field's token is its value times a vector, plus another vector.
struct FtTransformer::Numeric : Module {
  Numeric(int64_t fields, int64_t width) {
    weight = add_parameter("weight", at::zeros({fields, width}));
    bias = add_parameter("bias", at::zeros({fields, width}));
  }
  at::Tensor operator()(const at::Tensor& x) const {
    return at::addcmul(bias, x.unsqueeze(-1), weight);
  }
  void reset_parameters(at::Generator& generator) override {
    uniform(weight, weight.size(1), generator);
    uniform(bias, bias.size(1), generator);
  }
  at::Tensor weight, bias;
};

/// A table of vectors per field, plus a vector per field.
struct FtTransformer::Categorical : Module {
  Categorical(const std::vector<int64_t>& cardinalities, int64_t width)
      : tables(add<ModuleList<FieldEmbedding>>("embeddings")) {
    for (int64_t n : cardinalities) tables->append(n, width);
    bias = add_parameter("bias", at::zeros({static_cast<int64_t>(cardinalities.size()), width}));
  }
  at::Tensor operator()(const at::Tensor& ids) const {
    std::vector<at::Tensor> tokens;
    for (size_t i = 0; i < tables->size(); ++i) {
      tokens.push_back(at::embedding((*tables)[i].weight, ids.select(1, static_cast<int64_t>(i))));
    }
    return at::stack(tokens, 1) + bias;
  }
  void reset_parameters(at::Generator& generator) override {
    uniform(bias, bias.size(1), generator);
  }
  std::shared_ptr<ModuleList<FieldEmbedding>> tables;
  at::Tensor bias;
};

FtTransformer::FtTransformer(Config config) : config_(std::move(config)) {
  config_.validate();
  cls_ = add<Cls>("cls_embedding", config_.hidden_size);
  if (config_.numeric_fields > 0) {
    numeric_ = add<Numeric>("cont_embeddings", config_.numeric_fields, config_.hidden_size);
  }
  if (!config_.cardinalities.empty()) {
    categorical_ = add<Categorical>("cat_embeddings", config_.cardinalities, config_.hidden_size);
  }
  backbone_ = add<FtBackbone>("backbone", config_);
}

at::Tensor FtTransformer::numeric_tokens(const TensorMap& inputs, at::Tensor& mask) const {
  at::Tensor x = get(inputs, "numeric", "ft_transformer");
  if (x.dim() != 2 || x.size(0) == 0 || x.size(1) != config_.numeric_fields ||
      !x.is_floating_point()) {
    fail(ErrorCode::kInvalidArgument, "ft_transformer",
         "expected numeric [B, " + std::to_string(config_.numeric_fields) +
             "] of a floating-point type, got " + describe(x));
  }
  mask = check_mask(inputs, "numeric_mask", x.size(0), x.size(1), "ft_transformer");
  if (mask.defined()) x = x.masked_fill(mask.logical_not(), 0);
  return (*numeric_)(x.to(cls_->weight.scalar_type()));
}

at::Tensor FtTransformer::categorical_tokens(const TensorMap& inputs, at::Tensor& mask) const {
  at::Tensor ids = get(inputs, "categorical", "ft_transformer");
  auto fields = static_cast<int64_t>(config_.cardinalities.size());
  if (ids.dim() != 2 || ids.size(0) == 0 || ids.size(1) != fields ||
      !at::isIntegralType(ids.scalar_type(), false)) {
    fail(ErrorCode::kInvalidArgument, "ft_transformer",
         "expected categorical [B, " + std::to_string(fields) + "] of an integer type, got " +
             describe(ids));
  }
  mask = check_mask(inputs, "categorical_mask", ids.size(0), fields, "ft_transformer");
  if (mask.defined()) ids = ids.masked_fill(mask.logical_not(), 0);
  if (ids.is_cpu()) {
    at::Tensor counts = at::tensor(config_.cardinalities, at::kLong);
    if (at::logical_or(ids.lt(0), ids.ge(counts)).any().item<bool>()) {
      fail(ErrorCode::kInvalidArgument, "ft_transformer",
           "expected categorical values in [0, cardinality)");
    }
  }
  return (*categorical_)(ids.to(at::kLong));
}

EncoderOutput FtTransformer::encode(const TensorMap& inputs) {
  std::vector<at::Tensor> parts = {at::Tensor()}, masks(1);
  for (bool numeric : {true, false}) {
    if (numeric ? !numeric_ : !categorical_) continue;
    at::Tensor mask;
    parts.push_back(numeric ? numeric_tokens(inputs, mask) : categorical_tokens(inputs, mask));
    masks.push_back(mask);
    require(parts.back().size(0) == parts[1].size(0), "ft_transformer",
            "expected as many numeric as categorical rows");
  }
  int64_t batch = parts[1].size(0);
  parts[0] = cls_->weight.expand({batch, 1, -1});

  EncoderOutput out;
  bool masked = false;
  for (const at::Tensor& mask : masks) masked = masked || mask.defined();
  if (masked) {
    for (size_t i = 0; i < parts.size(); ++i) {
      if (!masks[i].defined())
        masks[i] = at::ones({batch, parts[i].size(1)}, parts[i].options().dtype(at::kBool));
    }
    out.mask = at::cat(masks, 1);
  }
  out.tokens = (*backbone_)(at::cat(parts, 1), attention_mask_or_none(out.mask));
  out.pooled = out.tokens.select(1, 0);
  return out;
}

}  // namespace plait::models
