#pragma once
#include <memory>

#include "plait/core/config.h"
#include "plait/models/encoders/encoder.h"
#include "plait/models/layers/layers.h"

namespace plait::models {

class Lstm;

/// Speaker encoder (Wan et al. 2018, "Generalized End-to-End Loss for Speaker Verification",
/// https://arxiv.org/abs/1710.10467) as the package resemblyzer has it: an LSTM over windows of a
/// mel spectrogram, its last state projected, cut at zero and scaled to length 1. Weight names of
/// resemblyzer's VoiceEncoder. Inputs: input_features [B, mels, frames] (mel power, no logarithm),
/// attention_mask [B, frames] (optional, real frames first). One token per window; the last window
/// is kept when real frames fill enough of it. The pooled vector, the windows' mean scaled to
/// length 1, is resemblyzer's embed_utterance.
class Ge2e : public Encoder {
 public:
  struct Config {
    int64_t num_mel_bins = 40;
    int64_t hidden_size = 256;
    int64_t num_hidden_layers = 3;
    int64_t embedding_size = 256;
    int64_t window_frames = 160;
    int64_t window_step = 77;
    double min_coverage = 0.75;

    void visit(ConfigVisitor& v);
    static Config tiny();
    void validate() const;
  };

  explicit Ge2e(Config config);
  EncoderOutput encode(const TensorMap& inputs) override;
  /// One window each: mels [W, frames, mels] → [W, D] of length 1.
  at::Tensor embed(const at::Tensor& mels) const;
  Modality modality() const override { return Modality::kAudio; }
  int64_t width() const override { return config_.embedding_size; }
  Json config() const override { return write_config(config_); }

 private:
  int64_t window_count(int64_t frames) const;

  Config config_;
  std::shared_ptr<Lstm> lstm_;
  std::shared_ptr<Linear> linear_;
};

}  // namespace plait::models
