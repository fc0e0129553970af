#pragma once
#include <memory>

#include "plait/core/config.h"
#include "plait/models/encoders/encoder.h"
#include "plait/models/layers/layers.h"

namespace plait::models {

class PatchLayers;

/// Encoder of sensor series of our own: per-row scaling (Kim et al. 2022, "RevIN"), a 1-D
/// convolution over all channels, patches as tokens of a pre-norm Transformer (after Nie et al.
/// 2023, "PatchTST", https://arxiv.org/abs/2211.14730; there channels stay apart, here they mix).
/// The first token holds what the scaling took away, each channel's mean and spread. Inputs: values
/// [B, T, C] with T up to max_length, attention_mask [B, T] (optional, false: no sample). A value
/// that is NaN is missing in its channel only. Trailing padding is invisible: a row gives what its
/// real samples give alone.
class PatchSeries : public Encoder {
 public:
  struct Config {
    int64_t channels = 1;
    int64_t patch_length = 16;
    int64_t max_length = 4096;
    int64_t kernel_size = 7;
    int64_t stem_size = 64;
    int64_t hidden_size = 128;
    int64_t num_hidden_layers = 3;
    int64_t num_attention_heads = 8;
    int64_t intermediate_size = 256;
    double dropout = 0.1;

    void visit(ConfigVisitor& v);
    static Config tiny();
    void validate() const;
  };

  explicit PatchSeries(Config config);
  EncoderOutput encode(const TensorMap& inputs) override;
  Modality modality() const override { return Modality::kSeries; }
  int64_t width() const override { return config_.hidden_size; }
  Json config() const override { return write_config(config_); }

 private:
  Config config_;
  std::shared_ptr<Conv> stem_, patches_;
  std::shared_ptr<Linear> statistics_;
  std::shared_ptr<Embedding> positions_;
  std::shared_ptr<Dropout> dropout_;
  std::shared_ptr<PatchLayers> layers_;
  std::shared_ptr<LayerNorm> norm_;
};

}  // namespace plait::models
