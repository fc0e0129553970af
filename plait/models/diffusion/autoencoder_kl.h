#pragma once
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "plait/core/config.h"
#include "plait/models/model.h"

namespace plait::models {

class Conv;

/// What a picture looks like in the latent space: a normal distribution for each number.
struct LatentDistribution {
  at::Tensor mean;          ///< [B, latent_channels, h, w]
  at::Tensor log_variance;  ///< The same shape, within [-30, 20]
};

/// The variational autoencoder of latent diffusion (Kingma & Welling 2014,
/// https://arxiv.org/abs/1312.6114; Rombach et al. 2022, https://arxiv.org/abs/2112.10752):
/// pictures to latents an eighth their size and back. Names of diffusers' AutoencoderKL.
/// Thread-safe in eval mode.
class AutoencoderKl : public Model {
 public:
  /// Names and defaults are diffusers'.
  struct Config {
    int64_t in_channels = 3;
    int64_t out_channels = 3;
    std::vector<std::string> down_block_types = {"DownEncoderBlock2D"};
    std::vector<std::string> up_block_types = {"UpDecoderBlock2D"};
    std::vector<int64_t> block_out_channels = {64};
    int64_t layers_per_block = 1;
    std::string act_fn = "silu";
    int64_t latent_channels = 4;
    int64_t norm_num_groups = 32;
    int64_t sample_size = 32;
    double scaling_factor = 0.18215;
    double shift_factor = 0;
    bool use_quant_conv = true;
    bool use_post_quant_conv = true;
    bool mid_block_add_attention = true;

    void visit(ConfigVisitor& v);
    static Config tiny();
    void validate() const;
  };

  explicit AutoencoderKl(const Config& config);
  ~AutoencoderKl() override;

  /// pixels [B, in_channels, H, W] in [-1, 1] → the distribution of their latents, not scaled.
  LatentDistribution encode(const at::Tensor& pixels) const;
  /// Latents [B, latent_channels, h, w], not scaled → pixels [B, out_channels, h·s, w·s] around
  /// [-1, 1].
  at::Tensor decode(const at::Tensor& latents) const;
  /// To and from the scale in which the U-Net works.
  at::Tensor scale(const at::Tensor& latents) const;
  at::Tensor unscale(const at::Tensor& latents) const;
  /// Pixels along one side of a latent: 2^(stages - 1).
  int64_t pixels_per_latent() const;

  /// Input pixel_values; outputs mean, log_variance and sample, what is decoded of the mean.
  TensorMap forward(const TensorMap& inputs) override;
  Json config() const override { return write_config(config_); }
  const Config& settings() const { return config_; }

 private:
  struct Encoder;
  struct Decoder;

  Config config_;
  std::shared_ptr<Encoder> encoder_;
  std::shared_ptr<Decoder> decoder_;
  std::shared_ptr<Conv> quant_, post_quant_;
};

}  // namespace plait::models
