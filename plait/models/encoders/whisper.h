#pragma once
#include <memory>
#include <string>

#include "plait/core/config.h"
#include "plait/models/encoders/encoder.h"
#include "plait/models/layers/layers.h"

namespace plait::models {

class WhisperLayers;

/// The encoder of Whisper (Radford et al. 2022, https://arxiv.org/abs/2212.04356): two convolutions
/// over the log-mel spectrogram, fixed positions, pre-norm Transformer. Weight names of
/// transformers' WhisperEncoder. Inputs: input_features [B, mels, frames] with any number of frames
/// up to 2 · max_source_positions, attention_mask [B, frames] (optional). The reference wants full
/// windows and lets tokens attend to the silence that fills them; so does this without a mask. With
/// one, padding is invisible: a row gives what its real frames give alone.
class Whisper : public Encoder {
 public:
  struct Config {
    int64_t num_mel_bins = 80;
    int64_t d_model = 384;
    int64_t encoder_layers = 4;
    int64_t encoder_attention_heads = 6;
    int64_t encoder_ffn_dim = 1536;
    std::string activation_function = "gelu";
    double dropout = 0;
    int64_t max_source_positions = 1500;
    int64_t average_pool = 1;       ///< Qwen2-Audio: 2
    bool convolve_padding = false;  ///< Qwen2-Audio: true

    void visit(ConfigVisitor& v);
    static Config tiny();
    void validate() const;
  };

  explicit Whisper(Config config);
  EncoderOutput encode(const TensorMap& inputs) override;
  Modality modality() const override { return Modality::kAudio; }
  int64_t width() const override { return config_.d_model; }
  Json config() const override { return write_config(config_); }

 private:
  Config config_;
  std::shared_ptr<Conv> conv1_, conv2_;
  std::shared_ptr<Module> positions_;
  at::Tensor position_table_;
  std::shared_ptr<Dropout> dropout_;
  std::shared_ptr<WhisperLayers> layers_;
  std::shared_ptr<LayerNorm> norm_;
};

}  // namespace plait::models
