#include "plait/models/encoders/clip_text.h"

#include <ATen/ATen.h>

#include "plait/core/error.h"
#include "plait/models/encoders/common.h"

namespace plait::models {
namespace {

constexpr const char* kUnit = "clip_text";
/// Configs from before the end token was right say 2; then it is the largest id of the row.
constexpr int64_t kLargestId = 2;

using Config = ClipText::Config;

struct Mlp : Module {
  explicit Mlp(const Config& c)
      : act(c.hidden_act),
        fc1(add<Linear>("fc1", c.hidden_size, c.intermediate_size)),
        fc2(add<Linear>("fc2", c.intermediate_size, c.hidden_size)) {}
  at::Tensor operator()(const at::Tensor& x) const { return (*fc2)(activate(act, (*fc1)(x))); }
  std::string act;
  std::shared_ptr<Linear> fc1, fc2;
};

struct Layer : Module {
  explicit Layer(const Config& c)
      : norm1(add<LayerNorm>("layer_norm1", c.hidden_size, c.layer_norm_eps)),
        self(add<SelfAttention>("self_attn", c.hidden_size, c.num_attention_heads)),
        norm2(add<LayerNorm>("layer_norm2", c.hidden_size, c.layer_norm_eps)),
        mlp(add<Mlp>("mlp", c)) {}
  at::Tensor operator()(at::Tensor x, const at::Tensor& mask) const {
    x = x + (*self)((*norm1)(x), mask);
    return x + (*mlp)((*norm2)(x));
  }
  std::shared_ptr<LayerNorm> norm1;
  std::shared_ptr<SelfAttention> self;
  std::shared_ptr<LayerNorm> norm2;
  std::shared_ptr<Mlp> mlp;
};

/// Which tokens each token sees: those before it and itself, padding left out. [T, T] or [B, 1, T,
/// T] bool; padding sees itself, so that no row of the softmax is empty.
at::Tensor causal_mask(int64_t tokens, const at::Tensor& real, at::Device device) {
  const auto bools = at::TensorOptions(at::kBool).device(device);
  at::Tensor before = at::ones({tokens, tokens}, bools).tril();
  if (!real.defined()) return before;
  at::Tensor seen = at::logical_and(before, real.unsqueeze(1));
  return at::logical_or(seen, at::eye(tokens, bools)).unsqueeze(1);
}

}  // namespace

void ClipText::Config::visit(ConfigVisitor& v) {
  v.field("vocab_size", vocab_size, "Words of the vocabulary", {.min = 1, .max = 1e7});
  v.field("hidden_size", hidden_size, "Width D of the tokens", {.min = 1, .max = 65536});
  v.field("intermediate_size", intermediate_size, "Width of the feed-forward layers",
          {.min = 1, .max = 262144});
  v.field("num_hidden_layers", num_hidden_layers, "Transformer layers", {.min = 1, .max = 1024});
  v.field("num_attention_heads", num_attention_heads, "Attention heads", {.min = 1, .max = 1024});
  v.field("max_position_embeddings", max_position_embeddings, "Longest text in tokens",
          {.min = 1, .max = 1e6});
  v.field("hidden_act", hidden_act, "Activation of the feed-forward layers");
  v.field("layer_norm_eps", layer_norm_eps, "Epsilon of the normalisations", {.min = 0, .max = 1});
  v.field("eos_token_id", eos_token_id,
          "Id of the end of a text, whose token is the pooled one; 2: the largest id",
          {.min = 0, .max = 1e7});
  v.field("projection_dim", projection_dim, "Width of the pooled vector; 0: not projected",
          {.min = 0, .max = 65536});
}

Config ClipText::Config::tiny() {
  Config c;
  c.vocab_size = 67;
  c.hidden_size = 16;
  c.intermediate_size = 24;
  c.num_hidden_layers = 2;
  c.num_attention_heads = 2;
  c.max_position_embeddings = 12;
  c.eos_token_id = 66;
  return c;
}

void ClipText::Config::validate() const {
  require(hidden_size % num_attention_heads == 0, kUnit,
          "expected hidden_size to be a multiple of num_attention_heads");
  check_activation(hidden_act);
}

struct ClipText::Embeddings : Module {
  explicit Embeddings(const Config& c)
      : words(add<Embedding>("token_embedding", c.vocab_size, c.hidden_size)),
        places(add<Embedding>("position_embedding", c.max_position_embeddings, c.hidden_size)) {}
  std::shared_ptr<Embedding> words, places;
};

struct ClipText::Layers : Module {
  explicit Layers(const Config& c) : layers(add<ModuleList<Layer>>("layers")) {
    for (int64_t i = 0; i < c.num_hidden_layers; ++i) layers->append(c);
  }
  std::shared_ptr<ModuleList<Layer>> layers;
};

ClipText::ClipText(const Config& c) : config_(c) {
  c.validate();
  embeddings_ = add<Embeddings>("embeddings", c);
  encoder_ = add<Layers>("encoder", c);
  norm_ = add<LayerNorm>("final_layer_norm", c.hidden_size, c.layer_norm_eps);
  if (c.projection_dim > 0) {
    projection_ = add<Linear>("text_projection", c.hidden_size, c.projection_dim, /*bias=*/false);
  }
}

ClipText::~ClipText() = default;

EncoderOutput ClipText::encode(const TensorMap& inputs) {
  at::Tensor ids = check_ids(get(inputs, "input_ids", kUnit), 2, config_.vocab_size, kUnit);
  const int64_t batch = ids.size(0), tokens = ids.size(1);
  if (tokens > config_.max_position_embeddings || tokens == 0 || batch == 0) {
    fail(ErrorCode::kInvalidArgument, kUnit,
         "expected texts of 1 to " + std::to_string(config_.max_position_embeddings) +
             " tokens, got " + std::to_string(tokens));
  }
  at::Tensor real = check_mask(inputs, "attention_mask", batch, tokens, kUnit);
  at::Tensor x = (*embeddings_->words)(ids) + embeddings_->places->weight.slice(0, 0, tokens);
  const at::Tensor mask = causal_mask(tokens, real, ids.device());
  for (const auto& layer : *encoder_->layers) x = (*layer)(x, mask);
  x = (*norm_)(x);

  // Padding may have any id, so it does not count in the search for the end.
  at::Tensor searched = real.defined() ? ids.masked_fill(at::logical_not(real), -1) : ids;
  at::Tensor end = config_.eos_token_id == kLargestId
                       ? searched.argmax(1)
                       : at::eq(searched, config_.eos_token_id).to(at::kInt).argmax(1);
  at::Tensor pooled = x.gather(1, end.view({batch, 1, 1}).expand({batch, 1, x.size(2)})).squeeze(1);
  return {.tokens = zero_padding(x, real),
          .mask = real,
          .pooled = projection_ ? (*projection_)(pooled) : pooled};
}

}  // namespace plait::models
