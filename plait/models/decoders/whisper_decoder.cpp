#include "plait/models/decoders/whisper_decoder.h"

#include <ATen/ATen.h>

#include <cmath>

#include "plait/core/error.h"
#include "plait/models/encoders/common.h"

namespace plait::models {
namespace {

constexpr const char* kUnit = "whisper_decoder";

}  // namespace

void WhisperDecoder::Config::visit(ConfigVisitor& v) {
  v.field("vocab_size", vocab_size, "Words of the vocabulary, special ones and times included",
          {.min = 1, .max = 1e7});
  v.field("d_model", d_model, "Width D of the tokens", {.min = 4, .max = 65536});
  v.field("decoder_layers", decoder_layers, "Transformer layers", {.min = 1, .max = 1024});
  v.field("decoder_attention_heads", decoder_attention_heads, "Attention heads",
          {.min = 1, .max = 1024});
  v.field("decoder_ffn_dim", decoder_ffn_dim, "Width of the feed-forward layers",
          {.min = 1, .max = 262144});
  v.field("activation_function", activation_function, "Activation of the feed-forward layers");
  v.field("dropout", dropout, "Dropout while training", {.min = 0, .max = 0.99});
  v.field("max_target_positions", max_target_positions, "Longest text in tokens",
          {.min = 1, .max = 1e6});
}

WhisperDecoder::Config WhisperDecoder::Config::tiny() {
  Config c;
  c.vocab_size = 67;
  c.d_model = 16;
  c.decoder_layers = 2;
  c.decoder_attention_heads = 2;
  c.decoder_ffn_dim = 24;
  c.max_target_positions = 24;
  return c;
}

void WhisperDecoder::Config::validate() const {
  require(d_model % decoder_attention_heads == 0, kUnit,
          "expected d_model to be a multiple of decoder_attention_heads");
  check_activation(activation_function);
}

namespace {

at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                  const at::Tensor& mask, bool causal) {
  std::optional<at::Tensor> given;
  if (mask.defined()) given = mask;
  return join_heads(at::scaled_dot_product_attention(q, k, v, given, 0.0, causal));
}

/// What the layers share during one call.
struct Call {
  KvCache* cache = nullptr;
  at::Tensor mask;  ///< [B, 1, T, S] or [T, S] bool; undefined: none, or `causal`
  bool causal = false;
  at::Tensor sound_mask;  ///< [A, 1, 1, S] bool
};

struct Attention : Module {
  explicit Attention(const WhisperDecoder::Config& c) : heads(c.decoder_attention_heads) {
    k = add<Linear>("k_proj", c.d_model, c.d_model, /*bias=*/false);
    v = add<Linear>("v_proj", c.d_model, c.d_model);
    q = add<Linear>("q_proj", c.d_model, c.d_model);
    out = add<Linear>("out_proj", c.d_model, c.d_model);
  }
  std::pair<at::Tensor, at::Tensor> read(const at::Tensor& x) const {
    return {split_heads((*k)(x), heads), split_heads((*v)(x), heads)};
  }
  at::Tensor to_itself(const at::Tensor& x, int64_t layer, const Call& call) const {
    auto [keys, values] = read(x);
    if (call.cache) std::tie(keys, values) = call.cache->append(layer, keys, values);
    return (*out)(attend(split_heads((*q)(x), heads), keys, values, call.mask, call.causal));
  }
  /// Rows that share one sound are so many more queries of it.
  at::Tensor queries(const at::Tensor& x, const at::Tensor& keys) const {
    at::Tensor asked = (*q)(x);
    if (keys.size(0) != x.size(0)) asked = asked.reshape({1, x.size(0) * x.size(1), x.size(2)});
    return split_heads(asked, heads);
  }
  at::Tensor to_sound(const at::Tensor& x, const std::pair<at::Tensor, at::Tensor>& sound,
                      const at::Tensor& mask) const {
    const auto& [keys, values] = sound;
    return (*out)(attend(queries(x, keys), keys, values, mask, false).reshape(x.sizes()));
  }
  at::Tensor scores(const at::Tensor& x, const at::Tensor& keys) const {
    const double scale = 1 / std::sqrt(static_cast<double>(keys.size(3)));
    return at::matmul(queries(x, keys) * scale, keys.transpose(2, 3));
  }
  int64_t heads;
  std::shared_ptr<Linear> k, v, q, out;
};

struct Layer : Module {
  explicit Layer(const WhisperDecoder::Config& c)
      : self(add<Attention>("self_attn", c)),
        self_norm(add<LayerNorm>("self_attn_layer_norm", c.d_model)),
        cross(add<Attention>("encoder_attn", c)),
        cross_norm(add<LayerNorm>("encoder_attn_layer_norm", c.d_model)),
        fc1(add<Linear>("fc1", c.d_model, c.decoder_ffn_dim)),
        fc2(add<Linear>("fc2", c.decoder_ffn_dim, c.d_model)),
        final_norm(add<LayerNorm>("final_layer_norm", c.d_model)),
        dropout(add<Dropout>("dropout", c.dropout)),
        act(c.activation_function) {}
  std::shared_ptr<Attention> self;
  std::shared_ptr<LayerNorm> self_norm;
  std::shared_ptr<Attention> cross;
  std::shared_ptr<LayerNorm> cross_norm;
  std::shared_ptr<Linear> fc1, fc2;
  std::shared_ptr<LayerNorm> final_norm;
  std::shared_ptr<Dropout> dropout;
  std::string act;
};

/// Which of all S keys each of the last T tokens may see, [T, S] bool.
at::Tensor causal_mask(int64_t tokens, int64_t keys, at::Device device) {
  return at::ones({tokens, keys}, at::TensorOptions(at::kBool).device(device)).tril(keys - tokens);
}

}  // namespace

class WhisperDecoderLayers : public ModuleList<Layer> {};

WhisperDecoder::WhisperDecoder(Config config) : config_(std::move(config)) {
  config_.validate();
  words_ = add<Embedding>("embed_tokens", config_.vocab_size, config_.d_model);
  places_ = add<Embedding>("embed_positions", config_.max_target_positions, config_.d_model);
  dropout_ = add<Dropout>("dropout", config_.dropout);
  layers_ = add<WhisperDecoderLayers>("layers");
  for (int64_t i = 0; i < config_.decoder_layers; ++i) layers_->append(config_);
  norm_ = add<LayerNorm>("layer_norm", config_.d_model);
}

at::Tensor WhisperDecoder::embed(const at::Tensor& ids) const {
  return (*words_)(check_ids(ids, 2, config_.vocab_size, kUnit));
}

KvCache WhisperDecoder::make_cache(int64_t batch, int64_t capacity) const {
  KvCache::Shape shape;
  shape.layers = config_.decoder_layers;
  shape.batch = batch;
  shape.heads = config_.decoder_attention_heads;
  shape.width = config_.d_model / config_.decoder_attention_heads;
  shape.capacity = std::min(capacity, config_.max_target_positions);
  return KvCache(shape, words_->weight.options().requires_grad(false));
}

at::Tensor WhisperDecoder::check_encoder(const at::Tensor& tokens) const {
  if (tokens.dim() != 3 || tokens.size(0) == 0 || tokens.size(1) == 0 ||
      tokens.size(2) != config_.d_model) {
    fail(ErrorCode::kInvalidArgument, kUnit,
         "expected encoder_hidden_states [B, S, " + std::to_string(config_.d_model) + "], got " +
             describe(tokens));
  }
  return tokens.to(words_->weight.scalar_type());
}

CrossKeys WhisperDecoder::read(const at::Tensor& encoder_tokens) const {
  at::Tensor tokens = check_encoder(encoder_tokens);
  CrossKeys sound;
  for (const auto& layer : *layers_) {
    auto [k, v] = layer->cross->read(tokens);
    sound.emplace_back(k.contiguous(), v.contiguous());
  }
  return sound;
}

/// x [B, T, D]: embeddings without positions; real [B, T] bool or undefined.
at::Tensor WhisperDecoder::run(at::Tensor x, const at::Tensor& real, const CrossKeys& sound,
                               const at::Tensor& sound_mask, KvCache* cache,
                               std::vector<at::Tensor>* scores) const {
  const int64_t batch = x.size(0), tokens = x.size(1), past = cache ? cache->length() : 0;
  if (past + tokens > config_.max_target_positions) {
    fail(ErrorCode::kInvalidArgument, kUnit,
         "expected at most " + std::to_string(config_.max_target_positions) + " tokens, got " +
             std::to_string(past + tokens));
  }
  at::Tensor before = cache ? cache->mask() : at::Tensor();
  Call call;
  call.cache = cache;
  call.sound_mask = sound_mask;
  at::Tensor positions;
  if (real.defined() || before.defined()) {
    const auto bools = at::TensorOptions(at::kBool).device(x.device());
    at::Tensor keys = at::cat({before.defined() ? before : at::ones({batch, past}, bools),
                               real.defined() ? real : at::ones({batch, tokens}, bools)},
                              1);
    positions = (keys.cumsum(1).narrow(1, past, tokens) - 1).clamp_min(0);
    // Padding sees itself, so that no row of the softmax is empty; what it computes is dropped.
    at::Tensor self = at::constant_pad_nd(at::eye(tokens, bools), {past, 0});
    at::Tensor seen = causal_mask(tokens, past + tokens, x.device());
    call.mask = at::logical_or(at::logical_and(seen, keys.unsqueeze(1)), self).unsqueeze(1);
  } else {
    positions = at::arange(past, past + tokens, at::TensorOptions(at::kLong).device(x.device()))
                    .unsqueeze(0);
    call.causal = tokens > 1 && past == 0;
    if (tokens > 1 && past > 0) call.mask = causal_mask(tokens, past + tokens, x.device());
  }
  x = (*dropout_)(x + (*places_)(positions));
  int64_t index = 0;
  for (const auto& layer : *layers_) {
    x = x + (*dropout_)(layer->self->to_itself((*layer->self_norm)(x), index, call));
    const auto& keys = sound[static_cast<size_t>(index++)];
    at::Tensor normed = (*layer->cross_norm)(x);
    if (scores) scores->push_back(layer->cross->scores(normed, keys.first));
    x = x + (*dropout_)(layer->cross->to_sound(normed, keys, call.sound_mask));
    at::Tensor wide = activate(layer->act, (*layer->fc1)((*layer->final_norm)(x)));
    x = x + (*dropout_)((*layer->fc2)(wide));
  }
  if (cache) cache->advance(tokens, real);
  return zero_padding((*norm_)(x), real);
}

at::Tensor WhisperDecoder::step(const at::Tensor& ids, const CrossKeys& sound,
                                KvCache& cache) const {
  require(static_cast<int64_t>(sound.size()) == config_.decoder_layers, kUnit,
          "expected keys and values for every layer");
  at::Tensor x = embed(ids);
  require(sound[0].first.size(0) == 1 || sound[0].first.size(0) == x.size(0), kUnit,
          "expected sound of one row, or of as many as there are texts");
  return run(x, {}, sound, {}, &cache, nullptr);
}

std::pair<at::Tensor, at::Tensor> WhisperDecoder::alignment(
    const at::Tensor& ids, const CrossKeys& sound,
    const std::vector<std::pair<int64_t, int64_t>>& heads) const {
  require(ids.dim() == 1 && !heads.empty() && !sound.empty() && sound[0].first.size(0) == 1, kUnit,
          "expected ids [T], sound of one row and at least one head");
  std::vector<at::Tensor> scores, chosen;
  at::Tensor hidden = run(embed(ids.unsqueeze(0)), {}, sound, {}, nullptr, &scores);
  for (const auto& [layer, head] : heads) {
    require(layer >= 0 && layer < layers() && head >= 0 && head < this->heads(), kUnit,
            "expected alignment heads that the model has");
    chosen.push_back(scores[static_cast<size_t>(layer)][0][head]);
  }
  return {at::stack(chosen), hidden.squeeze(0)};
}

at::Tensor WhisperDecoder::hidden_states(const TensorMap& inputs, KvCache* cache) const {
  at::Tensor x = get_or_undefined(inputs, "inputs_embeds");
  if (x.defined()) {
    require(x.dim() == 3 && x.size(2) == config_.d_model && x.size(1) > 0, kUnit,
            "expected inputs_embeds [B, P, d_model]");
    x = x.to(words_->weight.scalar_type());
  }
  if (inputs.count("input_ids") || !x.defined()) {
    at::Tensor words = embed(get(inputs, "input_ids", kUnit));
    require(!x.defined() || x.size(0) == words.size(0), kUnit,
            "expected as many rows of inputs_embeds as of input_ids");
    x = x.defined() ? at::cat({x, words}, 1) : words;
  }
  require(x.size(0) > 0 && x.size(1) > 0, kUnit, "expected at least one token");
  at::Tensor real = check_mask(inputs, "attention_mask", x.size(0), x.size(1), kUnit);
  if (real.defined() && real.is_cpu() && real.all().item<bool>()) real = at::Tensor();

  CrossKeys sound;
  if (cache && cache->cross(0).first.defined()) {
    for (int64_t i = 0; i < layers(); ++i) sound.push_back(cache->cross(i));
  } else {
    sound = read(get(inputs, "encoder_hidden_states", kUnit));
    for (int64_t i = 0; cache && i < layers(); ++i) cache->cross(i) = sound[static_cast<size_t>(i)];
  }
  require(sound[0].first.size(0) == x.size(0), kUnit,
          "expected as many rows of encoder_hidden_states as of tokens");
  at::Tensor sound_mask = attention_mask_or_none(
      check_mask(inputs, "encoder_attention_mask", x.size(0), sound[0].first.size(2), kUnit));
  return run(x, real, sound, sound_mask, cache, nullptr);
}

at::Tensor WhisperDecoder::word_logits(const at::Tensor& hidden) const {
  return at::linear(hidden, words_->weight);
}

}  // namespace plait::models
