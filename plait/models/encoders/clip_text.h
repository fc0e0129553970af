#pragma once
#include <memory>
#include <string>

#include "plait/core/config.h"
#include "plait/models/encoders/encoder.h"
#include "plait/models/layers/layers.h"

namespace plait::models {

/// CLIP's text tower (Radford et al. 2021, https://arxiv.org/abs/2103.00020): pre-norm Transformer
/// with causal attention; pooled is the token of the end of the text, through a projection where
/// there is one. Weight names of transformers' CLIPTextModel, text_projection included. Inputs:
/// input_ids [B, T], attention_mask [B, T] (optional: Stable Diffusion gives none, so that the
/// padding counts).
class ClipText : public Encoder {
 public:
  struct Config {
    int64_t vocab_size = 49408;
    int64_t hidden_size = 512;
    int64_t intermediate_size = 2048;
    int64_t num_hidden_layers = 12;
    int64_t num_attention_heads = 8;
    int64_t max_position_embeddings = 77;
    std::string hidden_act = "quick_gelu";
    double layer_norm_eps = 1e-5;
    int64_t eos_token_id = 49407;
    int64_t projection_dim = 0;

    void visit(ConfigVisitor& v);
    static Config tiny();
    void validate() const;
  };

  explicit ClipText(const Config& config);
  ~ClipText() override;

  EncoderOutput encode(const TensorMap& inputs) override;
  Modality modality() const override { return Modality::kText; }
  int64_t width() const override { return config_.hidden_size; }
  Json config() const override { return write_config(config_); }
  const Config& settings() const { return config_; }

 private:
  struct Embeddings;
  struct Layers;

  Config config_;
  std::shared_ptr<Embeddings> embeddings_;
  std::shared_ptr<Layers> encoder_;
  std::shared_ptr<LayerNorm> norm_;
  std::shared_ptr<Linear> projection_;
};

}  // namespace plait::models
