#pragma once
#include "plait/core/config.h"
#include "plait/models/encoders/encoder.h"
#include "plait/models/layers/layers.h"

/// 3-D ResNet for volumes: Hara et al., "Can Spatiotemporal 3D CNNs Retrace the History of 2D CNNs
/// and ImageNet?" (2018), arXiv 1711.09577. Names are those of MONAI's ResNet with convolutional
/// shortcuts, as MedicalNet's and MONAI's checkpoints have them.
namespace plait::models {

class ResNet3d : public Encoder {
 public:
  struct Config {
    int64_t num_channels = 1;
    std::vector<int64_t> widths = {64, 128, 256, 512};
    std::vector<int64_t> depths = {2, 2, 2, 2};
    std::string layer_type = "basic";
    int64_t stem_kernel = 7;
    int64_t stem_stride = 1;
    bool stem_pool = true;
    bool bias_downsample = true;
    int64_t num_classes = 0;

    void visit(ConfigVisitor& v);
    void validate() const;
    static Config tiny();
    /// ResNet-10, -18, -34, -50. @throws Error kInvalidArgument for another depth.
    static Config of_depth(int depth);
  };

  explicit ResNet3d(const Config& config);
  ~ResNet3d() override;

  /// voxel_values [B, C, D, H, W] of any size; tokens are the last map [B, D'·H'·W', width], pooled
  /// is its mean.
  EncoderOutput encode(const TensorMap& inputs) override;
  /// Adds logits [B, num_classes] when the classifier is there.
  TensorMap forward(const TensorMap& inputs) override;
  Modality modality() const override { return Modality::kVolume; }
  int64_t width() const override;
  Json config() const override { return write_config(config_); }

 private:
  class Block;
  struct Downsample;

  Config config_;
  std::shared_ptr<Conv> conv1_;
  std::shared_ptr<BatchNorm> bn1_;
  std::vector<std::shared_ptr<ModuleList<Block>>> stages_;
  std::shared_ptr<Linear> fc_;
};

}  // namespace plait::models
