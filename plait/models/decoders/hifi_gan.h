#pragma once
#include <memory>
#include <vector>

#include "plait/core/config.h"
#include "plait/models/layers/layers.h"
#include "plait/models/model.h"

namespace plait::models {

class TransposedConv;
class HifiGanBlock;

/// The generator of HiFi-GAN (Kong et al. 2020, https://arxiv.org/abs/2010.05646): frames of a
/// spectrogram, or of VITS's latents, to sound by transposed convolutions, each followed by the
/// mean of residual blocks of several widths. Weight names of transformers' SpeechT5HifiGan and of
/// the generator inside VitsModel, weight norms folded in; blocks of kind "2" have `convs` as the
/// original code does. forward takes spectrogram [B, T, in] and gives waveform [B, T · hop()] in
/// [-1, 1].
class HifiGan : public Model {
 public:
  struct Config {
    int64_t model_in_dim = 80;
    int64_t upsample_initial_channel = 512;
    std::vector<int64_t> upsample_rates = {4, 4, 4, 4};
    std::vector<int64_t> upsample_kernel_sizes = {8, 8, 8, 8};
    std::vector<int64_t> resblock_kernel_sizes = {3, 7, 11};
    Json resblock_dilation_sizes;  ///< A list for each kernel; null: {1, 3, 5} each.
    std::string resblock = "1";
    double leaky_relu_slope = 0.1;
    bool normalize_before = true;
    bool last_bias = true;
    int64_t speaker_embedding_size = 0;

    void visit(ConfigVisitor& v);
    static Config tiny();
    void validate() const;
    std::vector<std::vector<int64_t>> dilations() const;
  };

  explicit HifiGan(Config config);
  TensorMap forward(const TensorMap& inputs) override;
  Json config() const override { return write_config(config_); }

  /// frames [B, in, T] → [B, T · hop()]; speaker [B, speaker_embedding_size, 1] or undefined.
  at::Tensor generate(const at::Tensor& frames, const at::Tensor& speaker = {}) const;
  /// Samples per frame.
  int64_t hop() const;
  /// So many frames on either side a frame's samples depend on: frames in the middle of a longer
  /// run give the same sound as in the whole when so many neighbours come with them.
  int64_t context() const;

 private:
  Config config_;
  std::shared_ptr<Conv> conv_pre_, conv_post_, cond_;
  std::shared_ptr<ModuleList<TransposedConv>> upsampler_;
  std::shared_ptr<ModuleList<HifiGanBlock>> blocks_;
  at::Tensor mean_, scale_;
};

}  // namespace plait::models
