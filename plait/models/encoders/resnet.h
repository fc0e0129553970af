#pragma once
#include "plait/core/config.h"
#include "plait/models/encoders/encoder.h"
#include "plait/models/layers/layers.h"

/// ResNet: He et al., "Deep Residual Learning for Image Recognition" (2015), arXiv 1512.03385, in
/// the form v1.5 (stride in the 3×3 convolution of a bottleneck). Names are those of transformers'
/// ResNetModel; torchvision's names (also DINO's) are renamed by published.h.
namespace plait::models {

class ResNet : public Encoder {
 public:
  struct Config {
    int64_t num_channels = 3;
    int64_t embedding_size = 64;
    std::vector<int64_t> hidden_sizes = {256, 512, 1024, 2048};
    std::vector<int64_t> depths = {3, 4, 6, 3};
    std::string layer_type = "bottleneck";
    std::string hidden_act = "relu";
    bool downsample_in_first_stage = false;
    bool downsample_in_bottleneck = false;
    int64_t num_classes = 0;

    void visit(ConfigVisitor& v);
    void validate() const;
    static Config tiny();
    /// ResNet-18, -34, -50, -101, -152. @throws Error kInvalidArgument for another depth.
    static Config of_depth(int depth);
  };

  explicit ResNet(const Config& config);
  ~ResNet() override;

  /// pixel_values [B, 3, H, W] of any size; tokens are the last feature map [B, H/32·W/32, hidden],
  /// pooled is its mean.
  EncoderOutput encode(const TensorMap& inputs) override;
  /// Adds logits [B, num_classes] when the classifier is there.
  TensorMap forward(const TensorMap& inputs) override;
  Modality modality() const override { return Modality::kImage; }
  int64_t width() const override { return config_.hidden_sizes.back(); }
  Json config() const override { return write_config(config_); }

 private:
  class ConvLayer;
  class Block;
  class Stage;
  struct Embedder;
  struct Stages;

  Config config_;
  std::shared_ptr<Embedder> embedder_;
  std::shared_ptr<Stages> encoder_;
  std::shared_ptr<Linear> classifier_;
};

}  // namespace plait::models
