#pragma once
#include <memory>
#include <string>
#include <vector>

#include "plait/core/config.h"
#include "plait/models/layers/layers.h"
#include "plait/models/segmentation/segmenter.h"

/// U-Net: Ronneberger et al., "U-Net: Convolutional Networks for Biomedical Image Segmentation"
/// (2015), https://arxiv.org/abs/1505.04597, padded so that the output is as large as the input; in
/// two dimensions, or in three (Çiçek et al. 2016, https://arxiv.org/abs/1606.06650). Names are
/// those of MONAI's BasicUNet.
namespace plait::models {

class UNet : public Segmenter {
 public:
  struct Config {
    int64_t spatial_dims = 2;
    int64_t in_channels = 3;
    int64_t num_classes = 2;
    std::vector<int64_t> channels = {32, 32, 64, 128, 256};
    int64_t last_channels = 32;
    std::string norm = "instance";
    double negative_slope = 0.1;
    double dropout = 0.0;
    double dice_weight = 1.0;

    void visit(ConfigVisitor& v);
    void validate() const;
    static Config tiny();
  };

  explicit UNet(const Config& config);
  ~UNet() override;

  /// pixel_values [B, C, H, W] or, with three dimensions, voxel_values [B, C, D, H, W], each side
  /// at least 2^levels → logits of the same size, and features [B, channels.back(), ...] of the
  /// coarsest level.
  TensorMap forward(const TensorMap& inputs) override;
  at::Tensor loss(const TensorMap& outputs, const at::Tensor& target) const override;
  int64_t classes() const override { return config_.num_classes; }
  Json config() const override { return write_config(config_); }

 private:
  class TwoConv;
  class Down;
  class Up;

  Config config_;
  std::shared_ptr<TwoConv> first_;
  std::vector<std::shared_ptr<Down>> down_;
  std::vector<std::shared_ptr<Up>> up_;
  std::shared_ptr<Conv> last_;
};

}  // namespace plait::models
