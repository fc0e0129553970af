#include "plait/models/encoders/bert.h"

#include <ATen/ATen.h>

#include "plait/core/error.h"
#include "plait/models/encoders/common.h"

namespace plait::models {

void Bert::Config::visit(ConfigVisitor& v) {
  v.field("vocab_size", vocab_size, "Number of words", {.min = 1, .max = 2e6});
  v.field("hidden_size", hidden_size, "Width D of the tokens", {.min = 1, .max = 65536});
  v.field("num_hidden_layers", num_hidden_layers, "Transformer layers", {.min = 1, .max = 1024});
  v.field("num_attention_heads", num_attention_heads, "Attention heads", {.min = 1, .max = 1024});
  v.field("intermediate_size", intermediate_size, "Width of the feed-forward layers",
          {.min = 1, .max = 262144});
  v.field("hidden_act", hidden_act, "Activation of the feed-forward layers");
  v.field("hidden_dropout_prob", hidden_dropout_prob, "Dropout while training",
          {.min = 0, .max = 0.99});
  v.field("max_position_embeddings", max_position_embeddings, "Longest input in tokens",
          {.min = 1, .max = 1e6});
  v.field("type_vocab_size", type_vocab_size, "Number of segment types", {.min = 1, .max = 1024});
  v.field("layer_norm_eps", layer_norm_eps, "Epsilon of the normalisation", {.min = 0, .max = 1});
  v.field("pad_token_id", pad_token_id, "Id of the padding token", {.min = 0, .max = 2e6});
  v.field("pooling", pooling,
          "What stands for the whole text: mean of the real tokens, first token, or pooler layer",
          {.one_of = {"mean", "cls", "pooler"}});
  v.field("normalize", normalize, "Scale the pooled vector to length 1");
  v.field("masked_language_head", masked_language_head, "Add the head that predicts masked words");
}

Bert::Config Bert::Config::tiny() {
  Config c;
  c.vocab_size = 67;
  c.hidden_size = 16;
  c.num_hidden_layers = 2;
  c.num_attention_heads = 2;
  c.intermediate_size = 24;
  c.max_position_embeddings = 20;
  return c;
}

void Bert::Config::validate() const {
  require(hidden_size % num_attention_heads == 0, "bert",
          "expected hidden_size to be a multiple of num_attention_heads");
  require(pad_token_id < vocab_size, "bert", "expected pad_token_id to be below vocab_size");
  check_activation(hidden_act);
}

namespace {

struct SelfAttention : Module {
  explicit SelfAttention(const Bert::Config& c) : heads(c.num_attention_heads) {
    query = add<Linear>("query", c.hidden_size, c.hidden_size);
    key = add<Linear>("key", c.hidden_size, c.hidden_size);
    value = add<Linear>("value", c.hidden_size, c.hidden_size);
  }
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& mask) const {
    return attention((*query)(x), (*key)(x), (*value)(x), heads, mask);
  }
  int64_t heads;
  std::shared_ptr<Linear> query, key, value;
};

/// Projection, dropout, residual, normalisation.
struct Output : Module {
  Output(int64_t in, const Bert::Config& c)
      : dropout(add<Dropout>("dropout", c.hidden_dropout_prob)) {
    dense = add<Linear>("dense", in, c.hidden_size);
    norm = add<LayerNorm>("LayerNorm", c.hidden_size, c.layer_norm_eps);
  }
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& residual) const {
    return (*norm)((*dropout)((*dense)(x)) + residual);
  }
  std::shared_ptr<Dropout> dropout;
  std::shared_ptr<Linear> dense;
  std::shared_ptr<LayerNorm> norm;
};

struct Attention : Module {
  explicit Attention(const Bert::Config& c)
      : self(add<SelfAttention>("self", c)), output(add<Output>("output", c.hidden_size, c)) {}
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& mask) const {
    return (*output)((*self)(x, mask), x);
  }
  std::shared_ptr<SelfAttention> self;
  std::shared_ptr<Output> output;
};

struct Intermediate : Module {
  explicit Intermediate(const Bert::Config& c)
      : dense(add<Linear>("dense", c.hidden_size, c.intermediate_size)), act(c.hidden_act) {}
  at::Tensor operator()(const at::Tensor& x) const { return activate(act, (*dense)(x)); }
  std::shared_ptr<Linear> dense;
  std::string act;
};

struct Layer : Module {
  explicit Layer(const Bert::Config& c)
      : attention(add<Attention>("attention", c)),
        intermediate(add<Intermediate>("intermediate", c)),
        output(add<Output>("output", c.intermediate_size, c)) {}
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& mask) const {
    at::Tensor attended = (*attention)(x, mask);
    return (*output)((*intermediate)(attended), attended);
  }
  std::shared_ptr<Attention> attention;
  std::shared_ptr<Intermediate> intermediate;
  std::shared_ptr<Output> output;
};

/// What the masked-language head does before it compares with the word embeddings.
struct Transform : Module {
  explicit Transform(const Bert::Config& c)
      : dense(add<Linear>("dense", c.hidden_size, c.hidden_size)),
        norm(add<LayerNorm>("LayerNorm", c.hidden_size, c.layer_norm_eps)),
        act(c.hidden_act) {}
  at::Tensor operator()(const at::Tensor& x) const { return (*norm)(activate(act, (*dense)(x))); }
  std::shared_ptr<Linear> dense;
  std::shared_ptr<LayerNorm> norm;
  std::string act;
};

struct Predictions : Module {
  explicit Predictions(const Bert::Config& c) : transform(add<Transform>("transform", c)) {
    bias = add_parameter("bias", at::zeros({c.vocab_size}));
  }
  std::shared_ptr<Transform> transform;
  at::Tensor bias;
};

}  // namespace

class BertEmbeddings : public Module {
 public:
  explicit BertEmbeddings(const Bert::Config& c)
      : words(add<Embedding>("word_embeddings", c.vocab_size, c.hidden_size, c.pad_token_id)),
        positions(add<Embedding>("position_embeddings", c.max_position_embeddings, c.hidden_size)),
        types(add<Embedding>("token_type_embeddings", c.type_vocab_size, c.hidden_size)),
        norm(add<LayerNorm>("LayerNorm", c.hidden_size, c.layer_norm_eps)),
        dropout(add<Dropout>("dropout", c.hidden_dropout_prob)) {}

  /// `type_ids` undefined: all of type 0.
  at::Tensor operator()(const at::Tensor& ids, const at::Tensor& position_ids,
                        const at::Tensor& type_ids) const {
    at::Tensor type = type_ids.defined() ? (*types)(type_ids) : types->weight.select(0, 0);
    return (*dropout)((*norm)((*words)(ids) + type + (*positions)(position_ids)));
  }

  std::shared_ptr<Embedding> words, positions, types;
  std::shared_ptr<LayerNorm> norm;
  std::shared_ptr<Dropout> dropout;
};

class BertLayers : public Module {
 public:
  explicit BertLayers(const Bert::Config& c) : layers_(add<ModuleList<Layer>>("layer")) {
    for (int64_t i = 0; i < c.num_hidden_layers; ++i) layers_->append(c);
  }
  at::Tensor operator()(at::Tensor x, const at::Tensor& mask) const {
    for (const auto& layer : *layers_) x = (*layer)(x, mask);
    return x;
  }

 private:
  std::shared_ptr<ModuleList<Layer>> layers_;
};

/// Scores words by the word embeddings themselves: its decoder has no weight of its own.
class BertMaskedLanguageHead : public Module {
 public:
  explicit BertMaskedLanguageHead(const Bert::Config& c)
      : predictions_(add<Predictions>("predictions", c)) {}
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& words) const {
    return at::linear((*predictions_->transform)(x), words, predictions_->bias);
  }

 private:
  std::shared_ptr<Predictions> predictions_;
};

class BertPooler : public Module {
 public:
  explicit BertPooler(int64_t width) : dense_(add<Linear>("dense", width, width)) {}
  at::Tensor operator()(const at::Tensor& first) const { return at::tanh((*dense_)(first)); }

 private:
  std::shared_ptr<Linear> dense_;
};

Bert::Bert(Config config) : Bert(std::move(config), Positions::kFromZero) {}

Bert::Bert(Config config, Positions positions) : config_(std::move(config)), positions_(positions) {
  config_.validate();
  embeddings_ = add<BertEmbeddings>("embeddings", config_);
  encoder_ = add<BertLayers>("encoder", config_);
  if (config_.pooling == "pooler") pooler_ = add<BertPooler>("pooler", config_.hidden_size);
  if (config_.masked_language_head) head_ = add<BertMaskedLanguageHead>("cls", config_);
}

EncoderOutput Bert::encode(const TensorMap& inputs) {
  at::Tensor ids = check_ids(get(inputs, "input_ids", "bert"), 2, config_.vocab_size, "bert");
  at::Tensor mask = check_mask(inputs, "attention_mask", ids.size(0), ids.size(1), "bert");
  at::Tensor types = get_or_undefined(inputs, "token_type_ids");
  if (types.defined()) types = check_ids(types, 2, config_.type_vocab_size, "bert token_type_ids");

  int64_t first = positions_ == Positions::kFromZero ? 0 : config_.pad_token_id + 1;
  if (ids.size(1) > config_.max_position_embeddings - first) {
    fail(ErrorCode::kInvalidArgument, "bert",
         "expected at most " + std::to_string(config_.max_position_embeddings - first) +
             " tokens, got " + std::to_string(ids.size(1)));
  }
  at::Tensor position_ids;
  if (positions_ == Positions::kFromZero) {
    position_ids = at::arange(ids.size(1), ids.options());
  } else {
    at::Tensor real = ids.ne(config_.pad_token_id);
    position_ids = real.cumsum(1) * real + config_.pad_token_id;
  }

  EncoderOutput out;
  out.mask = mask;
  out.tokens = (*encoder_)((*embeddings_)(ids, position_ids, types), attention_mask_or_none(mask));
  out.pooled = config_.pooling == "mean" ? masked_mean(out.tokens, mask) : out.tokens.select(1, 0);
  if (pooler_) out.pooled = (*pooler_)(out.pooled);
  if (config_.normalize) out.pooled = unit_length(out.pooled);
  return out;
}

TensorMap Bert::forward(const TensorMap& inputs) {
  EncoderOutput out = encode(inputs);
  TensorMap named = {{"last_hidden_state", out.tokens}, {"pooled", out.pooled}};
  if (out.mask.defined()) named["mask"] = out.mask;
  if (head_) named["logits"] = word_logits(out.tokens);
  return named;
}

at::Tensor Bert::word_logits(const at::Tensor& tokens) const {
  require(head_ != nullptr, "bert", "expected masked_language_head to be on");
  return (*head_)(tokens, embeddings_->words->weight);
}

XlmRoberta::Config::Config() {
  vocab_size = 250002;
  hidden_size = 768;
  num_hidden_layers = 12;
  intermediate_size = 3072;
  max_position_embeddings = 514;
  type_vocab_size = 1;
  layer_norm_eps = 1e-5;
  pad_token_id = 1;
}

XlmRoberta::Config XlmRoberta::Config::tiny() {
  Config c;
  static_cast<Bert::Config&>(c) = Bert::Config::tiny();
  c.type_vocab_size = 1;
  c.layer_norm_eps = 1e-5;
  c.pad_token_id = 1;
  return c;
}

void XlmRoberta::Config::validate() const {
  Bert::Config::validate();
  require(max_position_embeddings > pad_token_id + 1, "xlm_roberta",
          "expected max_position_embeddings to be above pad_token_id + 1");
}

XlmRoberta::XlmRoberta(const Config& config) : Bert(config, Positions::kAfterPadding) {
  config.validate();
}

}  // namespace plait::models
