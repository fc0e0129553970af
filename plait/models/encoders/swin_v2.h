#pragma once
#include "plait/core/config.h"
#include "plait/models/encoders/encoder.h"
#include "plait/models/layers/layers.h"

/// Swin Transformer V2: Liu et al., "Swin Transformer V2: Scaling Up Capacity and Resolution"
/// (2021), arXiv 2111.09883: cosine attention in shifted windows, log-spaced continuous position
/// bias, normalisation after each branch. Names are those of transformers' Swinv2Model.
namespace plait::models {

class SwinV2 : public Encoder {
 public:
  struct Config {
    int64_t image_size = 224;
    int64_t patch_size = 4;
    int64_t num_channels = 3;
    int64_t embed_dim = 96;
    std::vector<int64_t> depths = {2, 2, 6, 2};
    std::vector<int64_t> num_heads = {3, 6, 12, 24};
    int64_t window_size = 7;
    std::vector<int64_t> pretrained_window_sizes = {0, 0, 0, 0};
    double mlp_ratio = 4.0;
    bool qkv_bias = true;
    double hidden_dropout_prob = 0;
    double drop_path_rate = 0.1;
    std::string hidden_act = "gelu";
    double layer_norm_eps = 1e-5;

    void visit(ConfigVisitor& v);
    void validate() const;
    static Config tiny();
  };

  explicit SwinV2(const Config& config);
  ~SwinV2() override;

  /// pixel_values [B, 3, H, W] of any size (padded with zeros to whole patches and windows); tokens
  /// are the last feature map [B, T, D] with D = embed_dim · 2^(stages - 1), pooled is their mean.
  EncoderOutput encode(const TensorMap& inputs) override;
  Modality modality() const override { return Modality::kImage; }
  int64_t width() const override { return config_.embed_dim << (config_.depths.size() - 1); }
  Json config() const override { return write_config(config_); }

 private:
  class WindowAttention;
  class Block;
  class PatchMerging;
  class Stage;
  struct Embeddings;
  struct Stages;

  Config config_;
  std::shared_ptr<Embeddings> embeddings_;
  std::shared_ptr<Stages> encoder_;
  std::shared_ptr<LayerNorm> layernorm_;
};

}  // namespace plait::models
