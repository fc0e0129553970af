#include "plait/models/decoders/causal_lm.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "plait/core/error.h"
#include "plait/models/decoders/feed_forward.h"
#include "plait/models/encoders/common.h"

namespace plait::models {

void CausalLm::Config::visit(ConfigVisitor& v) {
  v.field("vocab_size", vocab_size, "Number of words", {.min = 1, .max = 2e6});
  v.field("hidden_size", hidden_size, "Width D of the tokens", {.min = 1, .max = 65536});
  v.field("num_hidden_layers", num_hidden_layers, "Transformer layers", {.min = 1, .max = 1024});
  v.field("num_attention_heads", num_attention_heads, "Attention heads", {.min = 1, .max = 1024});
  v.field("num_key_value_heads", num_key_value_heads,
          "Heads of keys and values, shared by groups of attention heads; 0: as many",
          {.min = 0, .max = 1024});
  v.field("head_dim", head_dim, "Width of a head; 0: hidden_size / num_attention_heads",
          {.min = 0, .max = 65536});
  v.field("intermediate_size", intermediate_size, "Width of the feed-forward layers",
          {.min = 1, .max = 1048576});
  v.field("hidden_act", hidden_act, "Activation of the feed-forward layers");
  v.field("gated", gated, "Multiply the activation by a second projection (SwiGLU)");
  v.field("norm", norm, "Normalisation", {.one_of = {"rms", "layer"}});
  v.field("norm_eps", norm_eps, "Epsilon of the normalisation", {.min = 0, .max = 1});
  v.field("positions", positions, "How tokens know their place", {.one_of = {"rotary", "learned"}});
  v.field("max_position_embeddings", max_position_embeddings, "Longest text in tokens",
          {.min = 1, .max = 1e8});
  v.field("rope_theta", rope.theta, "Base of the rotary wavelengths", {.min = 1, .max = 1e12});
  v.field("rope_type", rope.type, "How wavelengths are stretched for longer texts",
          {.one_of = {"default", "linear", "llama3", "yarn"}});
  v.field("rope_factor", rope.factor, "Of the stretch", {.min = 1e-6, .max = 1e6});
  v.field("rope_low_freq_factor", rope.low_freq_factor, "llama3: waves above this are stretched",
          {.min = 1e-6, .max = 1e6});
  v.field("rope_high_freq_factor", rope.high_freq_factor, "llama3: waves below this are kept",
          {.min = 1e-6, .max = 1e6});
  v.field("rope_original_positions", rope.original_positions,
          "llama3, yarn: longest text before the stretch", {.min = 1, .max = 1e8});
  v.field("rope_beta_fast", rope.beta_fast, "yarn: waves that turn more often are kept",
          {.min = 1e-6, .max = 1e6});
  v.field("rope_beta_slow", rope.beta_slow, "yarn: waves that turn less often are stretched",
          {.min = 1e-6, .max = 1e6});
  v.field("rope_attention_factor", rope.attention_factor,
          "yarn: scale of the rotation; 0: 0.1 ln(rope_factor) + 1", {.min = 0, .max = 1e3});
  v.field("qkv_bias", qkv_bias, "Biases on queries, keys and values");
  v.field("output_bias", output_bias, "Bias on the attention's output");
  v.field("mlp_bias", mlp_bias, "Biases in the feed-forward layers");
  v.field("qk_norm", qk_norm, "Normalise each head's queries and keys");
  v.field("tie_word_embeddings", tie_word_embeddings, "Score words by their embeddings");
  v.field("dropout", dropout, "Dropout while training", {.min = 0, .max = 0.99});
  v.field("cross_attention_size", cross_attention_size,
          "Width of the encoder tokens that every layer attends to; 0: none",
          {.min = 0, .max = 65536});
  v.field("num_experts", num_experts, "Experts of a sparse layer; 0: dense layers",
          {.min = 0, .max = 4096});
  v.field("num_experts_per_tok", num_experts_per_tok, "Experts that each token is sent to",
          {.min = 1, .max = 4096});
  v.field("moe_intermediate_size", moe_intermediate_size, "Width of an expert",
          {.min = 1, .max = 1048576});
  v.field("shared_expert_intermediate_size", shared_expert_intermediate_size,
          "Width of the expert that takes every token; 0: none", {.min = 0, .max = 1048576});
  v.field("norm_topk_prob", norm_topk_prob, "Let the chosen experts' weights sum to one");
  v.field("decoder_sparse_step", decoder_sparse_step, "Every so many layers is sparse",
          {.min = 1, .max = 1024});
  v.field("mlp_only_layers", mlp_only_layers, "Layers without experts");
}

CausalLm::Config CausalLm::Config::tiny() {
  Config c;
  c.vocab_size = 67;
  c.hidden_size = 16;
  c.num_hidden_layers = 2;
  c.num_attention_heads = 4;
  c.num_key_value_heads = 2;
  c.intermediate_size = 24;
  c.max_position_embeddings = 64;
  return c;
}

void CausalLm::Config::validate() const {
  require(head_dim > 0 || hidden_size % num_attention_heads == 0, "causal_lm",
          "expected head_dim, or hidden_size to be a multiple of num_attention_heads");
  require(num_attention_heads % key_value_heads() == 0, "causal_lm",
          "expected num_attention_heads to be a multiple of num_key_value_heads");
  require(positions != "rotary" || head_width() % 2 == 0, "causal_lm",
          "expected an even head width for rotary positions");
  require(rope.type != "llama3" || rope.high_freq_factor > rope.low_freq_factor, "causal_lm",
          "expected rope_high_freq_factor above rope_low_freq_factor");
  require(rope.type != "yarn" || (rope.beta_fast > rope.beta_slow && rope.theta > 1), "causal_lm",
          "expected rope_beta_fast above rope_beta_slow and rope_theta above 1");
  require(num_experts == 0 || num_experts_per_tok <= num_experts, "causal_lm",
          "expected num_experts_per_tok to be at most num_experts");
  check_activation(hidden_act);
}

bool CausalLm::Config::sparse(int64_t layer) const {
  return num_experts > 0 && (layer + 1) % decoder_sparse_step == 0 &&
         std::find(mlp_only_layers.begin(), mlp_only_layers.end(), layer) == mlp_only_layers.end();
}

namespace {

constexpr const char* kUnit = "causal_lm";

/// What the layers of one call share.
struct Call {
  at::Tensor mask;      ///< bool, broadcastable to [B, H, T, S]; undefined: none
  bool causal = false;  ///< Every token sees those before it and itself; no mask needed
  at::Tensor cos, sin;
  at::Tensor encoder, encoder_mask;
  KvCache* cache = nullptr;
};

/// Either normalisation behind one call.
struct Norm : Module {
  Norm(const CausalLm::Config& c, int64_t width) : rms(c.norm == "rms"), eps(c.norm_eps) {
    weight = add_parameter("weight", at::ones({width}));
    if (!rms) bias = add_parameter("bias", at::zeros({width}));
  }
  at::Tensor operator()(const at::Tensor& x) const {
    if (rms) return at::rms_norm(x, {weight.size(0)}, weight, eps);
    return at::layer_norm(x, {weight.size(0)}, weight, bias, eps);
  }
  bool rms;
  double eps;
  at::Tensor weight, bias;
};

/// Groups of q's heads [B, H, T, d] share the heads of k and v [B, G, S, d] → [B, T, H·d].
at::Tensor grouped_attention(const at::Tensor& q, at::Tensor k, at::Tensor v,
                             const at::Tensor& mask, bool causal) {
  const int64_t batch = q.size(0), heads = q.size(1), tokens = q.size(2), width = q.size(3);
  const int64_t groups = k.size(1), share = heads / groups;
  std::optional<at::Tensor> m;
  if (mask.defined()) m = mask;
  if (tokens == 1) {
    // One token: the heads of a group are as many queries of one head, and nothing is repeated.
    at::Tensor grouped = q.reshape({batch, groups, share, width});
    return at::scaled_dot_product_attention(grouped, k, v, m).reshape({batch, 1, heads * width});
  }
  auto repeat = [&](const at::Tensor& x) {
    if (share == 1) return x;
    std::vector<int64_t> sizes = {batch, groups, share, x.size(2), width};
    return x.unsqueeze(2).expand(sizes).reshape({batch, heads, x.size(2), width});
  };
  return join_heads(at::scaled_dot_product_attention(q, repeat(k), repeat(v), m, 0.0, causal));
}

struct SelfAttention : Module {
  SelfAttention(const CausalLm::Config& c, int64_t index)
      : layer(index), heads(c.num_attention_heads), groups(c.key_value_heads()) {
    const int64_t width = c.head_width();
    q_proj = add<Linear>("q_proj", c.hidden_size, heads * width, c.qkv_bias);
    k_proj = add<Linear>("k_proj", c.hidden_size, groups * width, c.qkv_bias);
    v_proj = add<Linear>("v_proj", c.hidden_size, groups * width, c.qkv_bias);
    o_proj = add<Linear>("o_proj", heads * width, c.hidden_size, c.output_bias);
    if (!c.qk_norm) return;
    q_norm = add<Norm>("q_norm", c, width);
    k_norm = add<Norm>("k_norm", c, width);
  }
  at::Tensor operator()(const at::Tensor& x, const Call& call) const {
    at::Tensor q = split_heads((*q_proj)(x), heads), k = split_heads((*k_proj)(x), groups),
               v = split_heads((*v_proj)(x), groups);
    if (q_norm) {
      q = (*q_norm)(q);
      k = (*k_norm)(k);
    }
    if (call.cos.defined()) {
      q = rotate(q, call.cos, call.sin);
      k = rotate(k, call.cos, call.sin);
    }
    if (call.cache) std::tie(k, v) = call.cache->append(layer, k, v);
    return (*o_proj)(grouped_attention(q, k, v, call.mask, call.causal));
  }
  int64_t layer, heads, groups;
  std::shared_ptr<Linear> q_proj, k_proj, v_proj, o_proj;
  std::shared_ptr<Norm> q_norm, k_norm;
};

struct CrossAttention : Module {
  CrossAttention(const CausalLm::Config& c, int64_t index)
      : layer(index), heads(c.num_attention_heads), groups(c.key_value_heads()) {
    const int64_t width = c.head_width();
    q_proj = add<Linear>("q_proj", c.hidden_size, heads * width, c.qkv_bias);
    k_proj = add<Linear>("k_proj", c.cross_attention_size, groups * width, c.qkv_bias);
    v_proj = add<Linear>("v_proj", c.cross_attention_size, groups * width, c.qkv_bias);
    o_proj = add<Linear>("o_proj", heads * width, c.hidden_size, c.output_bias);
  }
  at::Tensor operator()(const at::Tensor& x, const Call& call) const {
    at::Tensor k, v;
    if (call.cache) std::tie(k, v) = call.cache->cross(layer);
    if (!k.defined()) {
      k = split_heads((*k_proj)(call.encoder), groups);
      v = split_heads((*v_proj)(call.encoder), groups);
      if (call.cache) call.cache->cross(layer) = {k, v};
    }
    return (*o_proj)(
        grouped_attention(split_heads((*q_proj)(x), heads), k, v, call.encoder_mask, false));
  }
  int64_t layer, heads, groups;
  std::shared_ptr<Linear> q_proj, k_proj, v_proj, o_proj;
};

struct Layer : Module {
  Layer(const CausalLm::Config& c, int64_t index) : dropout(add<Dropout>("dropout", c.dropout)) {
    input_norm = add<Norm>("input_layernorm", c, c.hidden_size);
    self_attn = add<SelfAttention>("self_attn", c, index);
    if (c.cross_attention_size > 0) {
      cross_norm = add<Norm>("cross_attention_layernorm", c, c.hidden_size);
      cross_attn = add<CrossAttention>("cross_attn", c, index);
    }
    post_norm = add<Norm>("post_attention_layernorm", c, c.hidden_size);
    if (c.sparse(index)) {
      sparse = add<SparseFeedForward>("mlp", c);
    } else {
      dense = add<FeedForward>("mlp", c, c.intermediate_size);
    }
  }
  at::Tensor operator()(at::Tensor x, const Call& call) const {
    x = x + (*dropout)((*self_attn)((*input_norm)(x), call));
    if (cross_attn) x = x + (*dropout)((*cross_attn)((*cross_norm)(x), call));
    at::Tensor normed = (*post_norm)(x);
    return x + (*dropout)(sparse ? (*sparse)(normed) : (*dense)(normed));
  }
  std::shared_ptr<Dropout> dropout;
  std::shared_ptr<Norm> input_norm, cross_norm, post_norm;
  std::shared_ptr<SelfAttention> self_attn;
  std::shared_ptr<CrossAttention> cross_attn;
  std::shared_ptr<FeedForward> dense;
  std::shared_ptr<SparseFeedForward> sparse;
};

/// Which of all S keys each of the last T tokens may see, [T, S] bool.
at::Tensor causal_mask(int64_t tokens, int64_t keys, at::Device device) {
  return at::ones({tokens, keys}, at::TensorOptions(at::kBool).device(device)).tril(keys - tokens);
}

}  // namespace

class CausalLayers : public Module {
 public:
  explicit CausalLayers(const CausalLm::Config& c)
      : words(add<Embedding>("embed_tokens", c.vocab_size, c.hidden_size)),
        layers(add<ModuleList<Layer>>("layers")),
        norm(add<Norm>("norm", c, c.hidden_size)),
        dropout(add<Dropout>("dropout", c.dropout)) {
    if (c.positions == "learned") {
      places = add<Embedding>("embed_positions", c.max_position_embeddings, c.hidden_size);
    } else {
      // No buffer of the module: that would be rounded when the model is converted to bfloat16.
      frequencies = rotary_frequencies(c.head_width(), c.rope);
      scale = rotary_scale(c.rope);
    }
    for (int64_t i = 0; i < c.num_hidden_layers; ++i) layers->append(c, i);
  }

  std::shared_ptr<Embedding> words, places;
  std::shared_ptr<ModuleList<Layer>> layers;
  std::shared_ptr<Norm> norm;
  std::shared_ptr<Dropout> dropout;
  at::Tensor frequencies;
  double scale = 1;  ///< Of the rotation
};

CausalLm::CausalLm(Config config) : config_(std::move(config)) {
  config_.validate();
  model_ = add<CausalLayers>("model", config_);
  if (!config_.tie_word_embeddings)
    head_ = add<Linear>("lm_head", config_.hidden_size, config_.vocab_size, /*bias=*/false);
}

at::Tensor CausalLm::embed(const at::Tensor& ids) const {
  return (*model_->words)(check_ids(ids, 2, config_.vocab_size, kUnit));
}

at::Device CausalLm::device() const { return model_->words->weight.device(); }

KvCache CausalLm::make_cache(int64_t batch, int64_t capacity) const {
  KvCache::Shape shape;
  shape.layers = config_.num_hidden_layers;
  shape.batch = batch;
  shape.heads = config_.key_value_heads();
  shape.width = config_.head_width();
  shape.capacity = std::min(capacity, config_.max_position_embeddings);
  return KvCache(shape, model_->words->weight.options().requires_grad(false));
}

at::Tensor CausalLm::hidden_states(const TensorMap& inputs, KvCache* cache) const {
  at::Tensor x = get_or_undefined(inputs, "inputs_embeds");
  if (x.defined()) {
    require(x.dim() == 3 && x.size(2) == config_.hidden_size && x.size(1) > 0, kUnit,
            "expected inputs_embeds [B, P, hidden_size]");
    x = x.to(model_->words->weight.scalar_type());
  }
  if (inputs.count("input_ids") || !x.defined()) {
    at::Tensor words = embed(get(inputs, "input_ids", kUnit));
    require(!x.defined() || x.size(0) == words.size(0), kUnit,
            "expected as many rows of inputs_embeds as of input_ids");
    x = x.defined() ? at::cat({x, words}, 1) : words;
  }
  const int64_t batch = x.size(0), tokens = x.size(1), past = cache ? cache->length() : 0;
  require(batch > 0 && tokens > 0, kUnit, "expected at least one token");
  if (past + tokens > config_.max_position_embeddings) {
    fail(ErrorCode::kInvalidArgument, kUnit,
         "expected at most " + std::to_string(config_.max_position_embeddings) + " tokens, got " +
             std::to_string(past + tokens));
  }
  at::Tensor real = check_mask(inputs, "attention_mask", batch, tokens, kUnit);
  if (real.defined() && real.is_cpu() && real.all().item<bool>()) real = at::Tensor();
  at::Tensor before = cache ? cache->mask() : at::Tensor();

  Call call;
  call.cache = cache;
  at::Tensor positions;
  if (real.defined() || before.defined()) {
    auto all = [&](int64_t count) {
      return at::ones({batch, count}, at::TensorOptions(at::kBool).device(x.device()));
    };
    at::Tensor keys =
        at::cat({before.defined() ? before : all(past), real.defined() ? real : all(tokens)}, 1);
    positions = (keys.cumsum(1).narrow(1, past, tokens) - 1).clamp_min(0);
    // Padding sees itself, so that no row of the softmax is empty; what it computes is dropped.
    at::Tensor self = at::eye(tokens, at::TensorOptions(at::kBool).device(x.device()));
    if (past > 0) self = at::constant_pad_nd(self, {past, 0});
    at::Tensor seen = causal_mask(tokens, past + tokens, x.device());
    call.mask = at::logical_or(at::logical_and(seen, keys.unsqueeze(1)), self).unsqueeze(1);
  } else {
    positions = at::arange(past, past + tokens, at::TensorOptions(at::kLong).device(x.device()))
                    .unsqueeze(0);
    call.causal = tokens > 1 && past == 0;
    if (tokens > 1 && past > 0) call.mask = causal_mask(tokens, past + tokens, x.device());
  }

  if (model_->places) {
    x = x + (*model_->places)(positions);
  } else {
    std::tie(call.cos, call.sin) = rotary_angles(
        positions.unsqueeze(1), model_->frequencies.to(x.device()), x.scalar_type(), model_->scale);
  }
  if (config_.cross_attention_size > 0 && (!cache || !cache->cross(0).first.defined())) {
    call.encoder = get(inputs, "encoder_hidden_states", kUnit).to(x.scalar_type());
    require(call.encoder.dim() == 3 && call.encoder.size(0) == batch &&
                call.encoder.size(2) == config_.cross_attention_size,
            kUnit, "expected encoder_hidden_states [B, S, cross_attention_size]");
  } else {
    require(config_.cross_attention_size > 0 || !inputs.count("encoder_hidden_states"), kUnit,
            "expected cross_attention_size to be set for encoder_hidden_states");
  }
  if (config_.cross_attention_size > 0 && inputs.count("encoder_attention_mask")) {
    const int64_t length =
        call.encoder.defined() ? call.encoder.size(1) : cache->cross(0).first.size(2);
    call.encoder_mask =
        attention_mask_or_none(check_mask(inputs, "encoder_attention_mask", batch, length, kUnit));
  }

  x = (*model_->dropout)(x);
  for (const auto& layer : *model_->layers) x = (*layer)(x, call);
  if (cache) cache->advance(tokens, real);
  return zero_padding((*model_->norm)(x), real);
}

at::Tensor CausalLm::word_logits(const at::Tensor& hidden) const {
  return head_ ? (*head_)(hidden) : at::linear(hidden, model_->words->weight);
}

}  // namespace plait::models
