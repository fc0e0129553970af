#pragma once
#include <memory>
#include <string>
#include <vector>

#include "plait/core/config.h"
#include "plait/models/diffusion/blocks.h"
#include "plait/models/model.h"

namespace plait::models {

/// The U-Net of latent diffusion (Rombach et al. 2022, https://arxiv.org/abs/2112.10752): what
/// noise is in a picture, given how much there is of it and a text. Names of diffusers'
/// UNet2DConditionModel in the layout of Stable Diffusion 1 and 2. Thread-safe in eval mode.
class UNet2dCondition : public Model {
 public:
  /// Names and defaults are diffusers'. `attention_head_dim` is, as there, the number of heads;
  /// it and `transformer_layers_per_block` have one value for all stages or one for each.
  struct Config {
    int64_t sample_size = 64;
    int64_t in_channels = 4;
    int64_t out_channels = 4;
    bool flip_sin_to_cos = true;
    int64_t freq_shift = 0;
    std::vector<std::string> down_block_types = {"CrossAttnDownBlock2D", "CrossAttnDownBlock2D",
                                                 "CrossAttnDownBlock2D", "DownBlock2D"};
    std::vector<std::string> up_block_types = {"UpBlock2D", "CrossAttnUpBlock2D",
                                               "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"};
    std::vector<int64_t> block_out_channels = {320, 640, 1280, 1280};
    int64_t layers_per_block = 2;
    double dropout = 0;
    std::string act_fn = "silu";
    int64_t norm_num_groups = 32;
    double norm_eps = 1e-5;
    int64_t cross_attention_dim = 1280;
    std::vector<int64_t> transformer_layers_per_block = {1};
    std::vector<int64_t> attention_head_dim = {8};
    bool use_linear_projection = false;

    void visit(ConfigVisitor& v);
    static Config tiny();
    void validate() const;
  };

  explicit UNet2dCondition(const Config& config);

  /// sample [B, in_channels, H, W] of any size; timestep [B] or [1] or 0-dim; states [B, S,
  /// cross_attention_dim]; state_mask [B, S], 1 = real (undefined: all are). → [B, out_channels, H,
  /// W]. @throws Error kInvalidArgument for other shapes.
  at::Tensor denoise(const at::Tensor& sample, const at::Tensor& timestep, const at::Tensor& states,
                     const at::Tensor& state_mask = {}) const;
  /// Inputs sample, timestep, encoder_hidden_states, encoder_attention_mask (optional); output
  /// sample.
  TensorMap forward(const TensorMap& inputs) override;
  Json config() const override { return write_config(config_); }
  const Config& settings() const { return config_; }
  at::Device device() const { return conv_in_->weight.device(); }
  at::ScalarType dtype() const { return conv_in_->weight.scalar_type(); }

 private:
  using Stage = MapStage<SpatialTransformer>;
  struct TimeEmbedding;

  at::Tensor embed_time(const at::Tensor& timestep, int64_t batch) const;

  Config config_;
  std::shared_ptr<Conv> conv_in_, conv_out_;
  std::shared_ptr<TimeEmbedding> time_;
  std::shared_ptr<ModuleList<Stage>> down_, up_;
  std::shared_ptr<Stage> middle_;
  std::shared_ptr<GroupNorm> norm_out_;
};

}  // namespace plait::models
