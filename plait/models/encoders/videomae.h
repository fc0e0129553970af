#pragma once
#include "plait/core/config.h"
#include "plait/models/encoders/encoder.h"
#include "plait/models/layers/layers.h"

/// VideoMAE's encoder: Tong et al., "VideoMAE: Masked Autoencoders are Data-Efficient Learners for
/// Self-Supervised Video Pre-Training" (2022), arXiv 2203.12602. Tubelets of pixels become tokens
/// (a 3-D convolution), which all attend to each other. Names are those of transformers'
/// checkpoints without their prefix.
namespace plait::models {

class VideoMae : public Encoder {
 public:
  struct Config {
    int64_t image_size = 224;
    int64_t patch_size = 16;
    int64_t num_channels = 3;
    int64_t num_frames = 16;
    int64_t tubelet_size = 2;
    int64_t hidden_size = 768;
    int64_t num_hidden_layers = 12;
    int64_t num_attention_heads = 12;
    int64_t intermediate_size = 3072;
    std::string hidden_act = "gelu";
    double layer_norm_eps = 1e-12;
    bool qv_bias = true;
    bool use_mean_pooling = true;
    double dropout = 0;
    int64_t num_classes = 0;

    void visit(ConfigVisitor& v);
    void validate() const;
    static Config tiny();
  };

  explicit VideoMae(const Config& config);
  ~VideoMae() override;

  /// pixel_values [B, num_frames, C, image_size, image_size]; tokens [B, tubelets, D]; pooled is
  /// their mean (normalised before the classifier, where there is one) or the first.
  EncoderOutput encode(const TensorMap& inputs) override;
  /// Adds logits [B, num_classes] when the classifier is there.
  TensorMap forward(const TensorMap& inputs) override;
  Modality modality() const override { return Modality::kVideo; }
  int64_t width() const override { return config_.hidden_size; }
  Json config() const override { return write_config(config_); }

 private:
  struct Embeddings;
  struct Attention;
  struct Layer;
  struct Layers;

  Config config_;
  at::Tensor positions_;
  std::shared_ptr<Embeddings> embeddings_;
  std::shared_ptr<Layers> encoder_;
  std::shared_ptr<LayerNorm> layernorm_, fc_norm_;
  std::shared_ptr<Linear> classifier_;
};

}  // namespace plait::models
