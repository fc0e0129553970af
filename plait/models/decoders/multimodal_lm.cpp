#include "plait/models/decoders/multimodal_lm.h"

#include <ATen/ATen.h>

#include <cmath>

#include "plait/core/error.h"
#include "plait/models/decoders/causal_lm.h"
#include "plait/models/encoders/vit.h"
#include "plait/models/registry.h"

namespace plait::models {
namespace {

constexpr const char* kUnit = "multimodal_lm";

const Json& described(const Json& part) {
  require(part.is_object(), kUnit, "expected an encoder and a decoder as {\"type\": name, ...}");
  return part;
}

Json typed(Json config, const char* type) {
  config["type"] = type;
  return config;
}

}  // namespace

void MultimodalLm::Config::visit(ConfigVisitor& v) {
  v.field("encoder", encoder, "The encoder: {\"type\": name, ...}");
  v.field("decoder", decoder, "The language model: {\"type\": name, ...}");
  v.field("skip_tokens", skip_tokens, "Tokens of the encoder that are left out, from the first on",
          {.min = 0, .max = 1e6});
  v.field("grid", grid, "Mean of a square map's tokens in so many fields to a side; 0: as they are",
          {.min = 0, .max = 1024});
  v.field("projector", projector, "From the encoder's width to the decoder's: one layer or two",
          {.one_of = {"linear", "mlp"}});
  v.field("projector_act", projector_act, "Activation between two layers");
  v.field("projector_bias", projector_bias, "Biases of the projector");
  v.field("placeholder", placeholder, "Token whose places the encoder's tokens take",
          {.min = 0, .max = 2e6});
}

MultimodalLm::Config MultimodalLm::Config::tiny() {
  Config c;
  VisionTransformer::Config vision = VisionTransformer::Config::clip();
  vision.image_size = 12;
  vision.patch_size = 4;
  vision.hidden_size = 24;
  vision.intermediate_size = 40;
  vision.num_hidden_layers = 1;
  vision.num_attention_heads = 3;
  c.encoder = typed(write_config(vision), "vit");
  c.decoder = typed(write_config(CausalLm::Config::tiny()), "causal_lm");
  c.skip_tokens = 1;
  c.placeholder = 66;
  return c;
}

void MultimodalLm::Config::validate() const { check_activation(projector_act); }

class MultimodalLm::Projector : public Module {
 public:
  Projector(const Config& c, int64_t from, int64_t to) : act_(c.projector_act) {
    if (c.projector == "mlp") {
      first_ = add<Linear>("linear_1", from, to, c.projector_bias);
      second_ = add<Linear>("linear_2", to, to, c.projector_bias);
    } else {
      first_ = add<Linear>("linear", from, to, c.projector_bias);
    }
  }
  at::Tensor operator()(const at::Tensor& x) const {
    at::Tensor y = (*first_)(x);
    return second_ ? (*second_)(activate(act_, y)) : y;
  }
  at::ScalarType dtype() const { return first_->weight.scalar_type(); }

 private:
  std::string act_;
  std::shared_ptr<Linear> first_, second_;
};

MultimodalLm::MultimodalLm(Config config)
    : MultimodalLm(config, create_as<Encoder>(described(config.encoder), "multimodal_lm.encoder"),
                   create_as<Decoder>(described(config.decoder), "multimodal_lm.decoder")) {}

MultimodalLm::MultimodalLm(Config config, std::shared_ptr<Encoder> encoder,
                           std::shared_ptr<Decoder> decoder)
    : config_(std::move(config)), encoder_(std::move(encoder)), decoder_(std::move(decoder)) {
  config_.validate();
  add_child("encoder", encoder_);
  projector_ = add<Projector>("projector", config_, encoder_->width(), decoder_->width());
  add_child("decoder", decoder_);
  require(config_.placeholder < decoder_->vocab_size(), kUnit,
          "expected the placeholder among the decoder's words");
}

at::Tensor MultimodalLm::Features::flat() const {
  return mask.defined() ? tokens.index({mask.to(at::kBool)}) : tokens.flatten(0, 1);
}

at::Tensor MultimodalLm::project(const at::Tensor& tokens) const {
  require(tokens.dim() == 3 && tokens.size(2) == encoder_->width(), kUnit,
          "expected tokens [N, P, width of the encoder]");
  return (*projector_)(tokens.to(projector_->dtype()));
}

MultimodalLm::Features MultimodalLm::encode(const TensorMap& inputs) const {
  TensorMap own;
  for (const auto& [name, tensor] : inputs) {
    if (name == "feature_attention_mask") {
      own["attention_mask"] = tensor;
    } else if (name != "input_ids" && name != "attention_mask") {
      own[name] = tensor;
    }
  }
  EncoderOutput out = encoder_->encode(own);
  require(out.tokens.size(1) > config_.skip_tokens, kUnit,
          "expected the encoder to give more than skip_tokens tokens");
  const int64_t kept = out.tokens.size(1) - config_.skip_tokens;
  Features made;
  made.tokens = out.tokens.narrow(1, config_.skip_tokens, kept);
  if (out.mask.defined()) made.mask = out.mask.narrow(1, config_.skip_tokens, kept);
  if (config_.grid > 0) {
    const auto side = static_cast<int64_t>(std::llround(std::sqrt(static_cast<double>(kept))));
    require(side * side == kept && !made.mask.defined(), kUnit,
            "expected a square map of tokens for a grid");
    at::Tensor map = made.tokens.transpose(1, 2).unflatten(2, {side, side});
    made.tokens =
        at::adaptive_avg_pool2d(map, {config_.grid, config_.grid}).flatten(2).transpose(1, 2);
  }
  return made;
}

MultimodalLm::Features MultimodalLm::features(const TensorMap& inputs) const {
  Features made = encode(inputs);
  made.tokens = project(made.tokens);
  return made;
}

at::Tensor MultimodalLm::embed(const at::Tensor& ids, const at::Tensor& features) const {
  at::Tensor words = decoder_->embed(ids);
  at::Tensor places = ids == config_.placeholder;
  const int64_t expected = places.sum().item<int64_t>();
  const int64_t given = features.defined() ? features.size(0) : 0;
  if (expected != given) {
    fail(ErrorCode::kInvalidArgument, kUnit,
         "expected a placeholder for each of " + std::to_string(given) +
             " tokens of the encoder, got " + std::to_string(expected));
  }
  if (given == 0) return words;
  require(features.dim() == 2 && features.size(1) == words.size(2), kUnit,
          "expected features [M, width of the decoder]");
  return words.masked_scatter(places.unsqueeze(-1), features.to(words.scalar_type()));
}

TensorMap MultimodalLm::forward(const TensorMap& inputs) {
  const at::Tensor& ids = get(inputs, "input_ids", kUnit);
  const bool sees = inputs.count("pixel_values") || inputs.count("input_features") ||
                    inputs.count("input_values") || inputs.count("values");
  TensorMap text = {{"inputs_embeds", embed(ids, sees ? features(inputs).flat() : at::Tensor())}};
  if (inputs.count("attention_mask")) text["attention_mask"] = inputs.at("attention_mask");
  return decoder_->forward(text);
}

}  // namespace plait::models
