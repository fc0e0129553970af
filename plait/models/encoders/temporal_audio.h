#pragma once
#include <memory>

#include "plait/core/config.h"
#include "plait/models/encoders/encoder.h"
#include "plait/models/layers/layers.h"

namespace plait::models {

class TemporalStem;
class TemporalBlocks;

/// Temporal audio extractor of our own, for prosody and events: depthwise-separable convolutions
/// take a log-mel spectrogram to a quarter of its frames, blocks of attention, convolution and
/// feed-forward (after Gulati et al. 2020, "Conformer", https://arxiv.org/abs/2005.08100) look near
/// and far, attention pooling with several heads weighs the moments. About one million parameters
/// by default. Inputs: input_features [B, mels, frames], attention_mask [B, frames] (optional, real
/// frames first). Tokens come every four frames; padding is invisible: a row gives what its real
/// frames give alone.
class TemporalAudio : public Encoder {
 public:
  struct Config {
    int64_t num_mel_bins = 64;
    int64_t hidden_size = 128;
    int64_t num_hidden_layers = 4;
    int64_t num_attention_heads = 4;
    int64_t intermediate_size = 512;
    int64_t kernel_size = 15;
    int64_t max_frames = 12000;
    double dropout = 0.1;

    void visit(ConfigVisitor& v);
    static Config tiny();
    void validate() const;
  };

  explicit TemporalAudio(Config config);
  EncoderOutput encode(const TensorMap& inputs) override;
  Modality modality() const override { return Modality::kAudio; }
  int64_t width() const override { return config_.hidden_size; }
  Json config() const override { return write_config(config_); }

 private:
  Config config_;
  std::shared_ptr<TemporalStem> stem_;
  std::shared_ptr<TemporalBlocks> blocks_;
  std::shared_ptr<LayerNorm> norm_;
  std::shared_ptr<Linear> pool_;
};

}  // namespace plait::models
