#pragma once
#include "plait/core/config.h"
#include "plait/models/encoders/encoder.h"
#include "plait/models/layers/layers.h"

/// Vision Transformer: Dosovitskiy et al., "An Image is Worth 16x16 Words" (2020), arXiv
/// 2010.11929. Its switches also give the image towers of CLIP (Radford et al. 2021, arXiv
/// 2103.00020) and SigLIP (Zhai et al. 2023, arXiv 2303.15343) and DINOv2 (Oquab et al. 2023, arXiv
/// 2304.07193). Embeddings are named as in ViT's checkpoints, layers as in CLIP's; published.h
/// renames the rest.
namespace plait::models {

class VisionTransformer : public Encoder {
 public:
  struct Config {
    int64_t image_size = 224;
    int64_t patch_size = 16;
    int64_t num_channels = 3;
    int64_t hidden_size = 768;
    int64_t intermediate_size = 3072;
    int64_t num_hidden_layers = 12;
    int64_t num_attention_heads = 12;
    std::string hidden_act = "gelu";
    double layer_norm_eps = 1e-12;
    bool qkv_bias = true;
    bool class_token = true;
    bool patch_bias = true;
    bool pre_norm = false;
    bool norm_tokens = true;
    double layer_scale = 0;
    bool swiglu = false;
    std::string pooling = "cls";
    int64_t projection_dim = 0;
    double dropout = 0;
    double drop_path = 0;

    void visit(ConfigVisitor& v);
    void validate() const;
    static Config tiny();
    /// The switches of each family, at the size of its base model.
    static Config clip();
    static Config dinov2();
    static Config siglip();
  };

  explicit VisionTransformer(const Config& config);
  ~VisionTransformer() override;

  /// pixel_values [B, 3, H, W], at least one patch high and wide; a remainder of a patch is cut
  /// off. Position embeddings are resampled (bicubic) for sizes other than image_size. tokens [B,
  /// (1) + H/p·W/p, D] with the class token first.
  EncoderOutput encode(const TensorMap& inputs) override;
  /// Adds embedding [B, projection_dim], the pooled feature in the space shared with text, when
  /// projection_dim > 0.
  TensorMap forward(const TensorMap& inputs) override;
  Modality modality() const override { return Modality::kImage; }
  int64_t width() const override { return config_.hidden_size; }
  Json config() const override { return write_config(config_); }

 private:
  class Embeddings;
  class Attention;
  class Mlp;
  class Layer;
  class PoolingHead;
  struct Layers;

  Config config_;
  std::shared_ptr<Embeddings> embeddings_;
  std::shared_ptr<LayerNorm> pre_norm_, post_norm_;
  std::shared_ptr<Layers> encoder_;
  std::shared_ptr<Linear> pooler_, projection_;
  std::shared_ptr<PoolingHead> head_;
};

}  // namespace plait::models
