#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "plait/core/config.h"
#include "plait/models/decoders/hifi_gan.h"
#include "plait/models/layers/layers.h"
#include "plait/models/model.h"

namespace plait::models {

class VitsTextEncoder;
class VitsDurations;
class VitsFlow;

/// How a VITS speaks; fields below zero stand for the config's own.
struct VitsStyle {
  double length_scale = -1;          ///< Above 1: slower
  double noise_scale = -1;           ///< Variation of the sound
  double noise_scale_duration = -1;  ///< Variation of the rhythm
};

/// What stands between text and sound.
struct VitsLatents {
  at::Tensor frames;        ///< [B, flow_size, L], 0 at padding
  at::Tensor lengths;       ///< [B] int64, frames of each row
  at::Tensor log_duration;  ///< [B, T]
  at::Tensor durations;     ///< [B, T] whole frames
  at::Tensor speaker;       ///< [B, speaker_embedding_size, 1] or undefined
};

/// VITS (Kim et al. 2021, https://arxiv.org/abs/2106.06103), what it takes to speak: a text encoder
/// with relative attention, a duration predictor (flows run backwards, or a plain one), residual
/// couplings run backwards and a HiFi-GAN generator. Weight names of transformers' VitsModel
/// without the posterior encoder and what else only training needs; weight norms folded in.
///
/// forward takes input_ids [B, T], attention_mask [B, T] (optional, real symbols first), speaker_id
/// [B] (optional), durations [B, T] (optional, frames instead of the predicted ones),
/// duration_noise [B, 2, T] and noise [B, flow_size, ≥ L] (optional, standard normal; without them
/// nothing is random) and gives waveform [B, N], sequence_lengths [B] in samples, spectrogram
/// [B, flow_size, L] (the latents) and log_duration [B, T]. Thread-safe in eval mode.
class Vits : public Model {
 public:
  struct Config {
    int64_t vocab_size = 38;
    int64_t hidden_size = 192;
    int64_t num_hidden_layers = 6;
    int64_t num_attention_heads = 2;
    int64_t window_size = 4;
    bool use_bias = true;
    int64_t ffn_dim = 768;
    int64_t ffn_kernel_size = 3;
    std::string hidden_act = "relu";
    double layer_norm_eps = 1e-5;
    int64_t flow_size = 192;
    bool use_stochastic_duration_prediction = true;
    int64_t num_speakers = 1;
    int64_t speaker_embedding_size = 0;
    int64_t upsample_initial_channel = 512;
    std::vector<int64_t> upsample_rates = {8, 8, 2, 2};
    std::vector<int64_t> upsample_kernel_sizes = {16, 16, 4, 4};
    std::vector<int64_t> resblock_kernel_sizes = {3, 7, 11};
    Json resblock_dilation_sizes;
    std::string resblock = "1";
    double leaky_relu_slope = 0.1;
    int64_t depth_separable_channels = 2;
    int64_t depth_separable_num_layers = 3;
    int64_t duration_predictor_flow_bins = 10;
    double duration_predictor_tail_bound = 5;
    int64_t duration_predictor_kernel_size = 3;
    int64_t duration_predictor_num_flows = 4;
    int64_t duration_predictor_filter_channels = 256;
    int64_t prior_encoder_num_flows = 4;
    int64_t prior_encoder_num_wavenet_layers = 4;
    int64_t wavenet_kernel_size = 5;
    int64_t wavenet_dilation_rate = 1;
    double speaking_rate = 1;
    double noise_scale = 0.667;
    double noise_scale_duration = 0.8;
    int64_t sampling_rate = 16000;

    void visit(ConfigVisitor& v);
    static Config tiny();
    void validate() const;
    HifiGan::Config generator() const;
  };
  /// Frames of one row at most: 10 minutes at 100 a second.
  static constexpr int64_t kMaxFrames = 60'000;

  explicit Vits(Config config);
  TensorMap forward(const TensorMap& inputs) override;
  Json config() const override { return write_config(config_); }
  const Config& options() const { return config_; }

  /// Everything up to the generator; `inputs` as forward takes them, `noise` may be left out to be
  /// asked for with its shape once the length is known. @throws Error kInvalidArgument for wrong
  /// shapes, kResourceLimit for more than kMaxFrames.
  VitsLatents latents(
      const TensorMap& inputs, const VitsStyle& style = {},
      const std::function<at::Tensor(const std::vector<int64_t>& shape)>& draw = {}) const;
  const HifiGan& generator() const { return *decoder_; }

 private:
  Config config_;
  std::shared_ptr<VitsTextEncoder> text_encoder_;
  std::shared_ptr<VitsFlow> flow_;
  std::shared_ptr<HifiGan> decoder_;
  std::shared_ptr<VitsDurations> durations_;
  std::shared_ptr<Embedding> speakers_;

  at::Tensor speaker_of(const TensorMap& inputs, int64_t batch) const;
};

}  // namespace plait::models
