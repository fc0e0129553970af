// The smallest useful image encoder: patches through two linear layers (docs/add_an_encoder.md
// walks through it).
#include <ATen/ATen.h>

#include <iostream>

#include "plait/core/config.h"
#include "plait/core/error.h"
#include "plait/models/encoders/encoder.h"
#include "plait/models/encoders/image_input.h"
#include "plait/models/layers/layers.h"

namespace plait::models {

// [snippet: header]
/// Patches one by one through two linear layers, pooled by their mean. Reference: (the paper, with
/// its year and number).
class PatchMlp : public Encoder {
 public:
  struct Config {
    int64_t patch_size = 16;
    int64_t hidden_size = 192;
    std::string hidden_act = "gelu";

    void visit(ConfigVisitor& v);
    void validate() const {}
    static Config tiny();
  };

  explicit PatchMlp(const Config& config);
  /// pixel_values [B, 3, H, W] with H and W at least patch_size → tokens [B, ⌊H/p⌋·⌊W/p⌋, D].
  EncoderOutput encode(const TensorMap& inputs) override;
  Modality modality() const override { return Modality::kImage; }
  int64_t width() const override { return config_.hidden_size; }
  Json config() const override { return write_config(config_); }

 private:
  Config config_;
  std::shared_ptr<Conv> embed_;
  std::shared_ptr<Linear> mix_;
  std::shared_ptr<LayerNorm> norm_;
};
// [end]

// [snippet: source]
void PatchMlp::Config::visit(ConfigVisitor& v) {
  v.field("patch_size", patch_size, "Side of a patch in pixels", {.min = 1, .max = 256});
  v.field("hidden_size", hidden_size, "Width of a token", {.min = 1, .max = 8192});
  v.field("hidden_act", hidden_act, "Activation", {.one_of = {"gelu", "relu", "silu"}});
}

PatchMlp::Config PatchMlp::Config::tiny() {
  Config c;
  c.patch_size = 4;
  c.hidden_size = 8;
  return c;
}

PatchMlp::PatchMlp(const Config& c) : config_(c) {
  embed_ = add<Conv>("embed", 3, c.hidden_size,
                     ConvOptions{.kernel = {c.patch_size, c.patch_size}, .stride = {c.patch_size}});
  mix_ = add<Linear>("mix", c.hidden_size, c.hidden_size);
  norm_ = add<LayerNorm>("norm", c.hidden_size);
}

EncoderOutput PatchMlp::encode(const TensorMap& inputs) {
  const at::Tensor& pixels = pixel_values(inputs, 3, config_.patch_size, "patch_mlp");
  at::Tensor tokens = map_to_tokens((*embed_)(pixels));
  tokens = (*norm_)(tokens + (*mix_)(activate(config_.hidden_act, tokens)));
  return {.tokens = tokens, .mask = {}, .pooled = tokens.mean(1)};
}
// [end]

}  // namespace plait::models

int main() {
  using plait::models::PatchMlp;
  PatchMlp encoder(PatchMlp::Config::tiny());
  encoder.initialize(/*seed=*/0);
  auto out = encoder.encode({{"pixel_values", at::rand({2, 3, 16, 12})}});
  std::cout << "tokens " << out.tokens.sizes() << ", pooled " << out.pooled.sizes() << ", "
            << encoder.parameter_count() << " parameters\n";
  return out.tokens.sizes() == at::IntArrayRef({2, 12, 8}) &&
                 out.pooled.sizes() == at::IntArrayRef({2, 8})
             ? 0
             : 1;
}
