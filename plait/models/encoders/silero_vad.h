#pragma once
#include <memory>

#include "plait/core/config.h"
#include "plait/models/encoders/encoder.h"
#include "plait/models/layers/layers.h"

namespace plait::models {

class LstmCell;

/// Voice activity detection as the package silero-vad has it (https://github.com/snakers4/
/// silero-vad): a short-time spectrum, four convolutions and an LSTM over chunks of 2 · n_fft
/// samples, each seen with the last n_fft / 4 samples before it; 512 and 64 samples at 16 kHz for
/// the published weights. Weight names of its safetensors file. Inputs: input_values [B, N] in
/// [-1, 1], attention_mask [B, N] (optional, real samples first). One token per begun chunk: the
/// LSTM's output; forward adds speech [B, T], the probability that the chunk holds speech (0 at
/// padding).
class SileroVad : public Encoder {
 public:
  struct Config {
    int64_t n_fft = 256;
    int64_t wide = 128;
    int64_t narrow = 64;

    void visit(ConfigVisitor& v);
    static Config tiny();
    void validate() const;
  };
  /// What a stream remembers: the samples before the next chunk and the LSTM's state. Undefined at
  /// the start.
  struct State {
    at::Tensor context, hidden, cell;
  };

  explicit SileroVad(Config config);
  EncoderOutput encode(const TensorMap& inputs) override;
  TensorMap forward(const TensorMap& inputs) override;
  /// Whole chunks of a stream, samples [C · chunk()], after those that `state` has seen → the
  /// probability of speech in each [C].
  at::Tensor speech(const at::Tensor& samples, State& state) const;
  /// Samples per chunk.
  int64_t chunk() const { return 2 * config_.n_fft; }
  Modality modality() const override { return Modality::kAudio; }
  int64_t width() const override { return config_.wide; }
  Json config() const override { return write_config(config_); }

 private:
  /// samples [B, C · chunk()] → the LSTM's outputs [B, C, wide].
  at::Tensor tokens(const at::Tensor& samples, State& state) const;
  at::Tensor probability(const at::Tensor& tokens) const;

  Config config_;
  at::Tensor spectrum_;
  std::vector<std::shared_ptr<Conv>> convs_;
  std::shared_ptr<LstmCell> lstm_;
  std::shared_ptr<Conv> final_;
};

}  // namespace plait::models
