#pragma once
#include <memory>
#include <string>
#include <vector>

#include "plait/core/config.h"
#include "plait/models/encoders/encoder.h"
#include "plait/models/layers/layers.h"

namespace plait::models {

class Wav2Vec2Features;
class Wav2Vec2Projection;
class Wav2Vec2Layers;

/// wav2vec 2.0 (Baevski et al. 2020, https://arxiv.org/abs/2006.11477): convolutions over the
/// waveform, convolutional positions, Transformer. Weight names of transformers' Wav2Vec2Model
/// without its training-only masked_spec_embed. Inputs: input_values [B, N] at 16 kHz,
/// attention_mask [B, N] (optional, real samples first). A row gives what its real samples give
/// alone: with feat_extract_norm "layer" that is what the reference gives too; with "group" the
/// reference lets the padding into the statistics of the first normalisation, this does not.
class Wav2Vec2 : public Encoder {
 public:
  struct Config {
    int64_t hidden_size = 768;
    int64_t num_hidden_layers = 12;
    int64_t num_attention_heads = 12;
    int64_t intermediate_size = 3072;
    std::string hidden_act = "gelu";
    double hidden_dropout = 0.1;
    double layer_norm_eps = 1e-5;
    std::string feat_extract_norm = "group";
    std::string feat_extract_activation = "gelu";
    std::vector<int64_t> conv_dim = {512, 512, 512, 512, 512, 512, 512};
    std::vector<int64_t> conv_stride = {5, 2, 2, 2, 2, 2, 2};
    std::vector<int64_t> conv_kernel = {10, 3, 3, 3, 3, 2, 2};
    bool conv_bias = false;
    int64_t num_conv_pos_embeddings = 128;
    int64_t num_conv_pos_embedding_groups = 16;
    bool do_stable_layer_norm = false;

    void visit(ConfigVisitor& v);
    static Config tiny();
    void validate() const;
  };

  explicit Wav2Vec2(Config config);
  EncoderOutput encode(const TensorMap& inputs) override;
  Modality modality() const override { return Modality::kAudio; }
  int64_t width() const override { return config_.hidden_size; }
  Json config() const override { return write_config(config_); }

  /// Tokens that so many samples give; 0 when there are too few.
  int64_t token_count(int64_t samples) const;

 private:
  Config config_;
  std::shared_ptr<Wav2Vec2Features> features_;
  std::shared_ptr<Wav2Vec2Projection> projection_;
  std::shared_ptr<Wav2Vec2Layers> encoder_;
};

}  // namespace plait::models
