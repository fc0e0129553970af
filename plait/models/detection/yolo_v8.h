#pragma once
#include <memory>
#include <string>

#include "plait/core/config.h"
#include "plait/models/detection/detector.h"

namespace plait::models {

/// The layout known as YOLOv8, written from its published description: a backbone of C2f blocks,
/// pyramid pooling, path aggregation, and a head without anchors or presence that gives each side's
/// distance as a distribution over `reg_max` whole strides (Li et al. 2020,
/// https://arxiv.org/abs/2006.04388). Weight names are those of the published checkpoints; pixels
/// are 0 … 1 in the order red, green, blue. Trained with task-aligned assignment (task_aligned.h).
class YoloV8 : public Detector {
 public:
  struct Config {
    int64_t num_classes = 80;
    double depth = 0.33;
    double width = 0.25;
    int64_t max_channels = 1024;  ///< Before scaling
    int64_t reg_max = 16;
    std::string hidden_act = "silu";
    double batch_norm_eps = 1e-3;
    double batch_norm_momentum = 0.03;

    void visit(ConfigVisitor& v);
    void validate() const {}
    static Config tiny();
    /// "n", "s", "m", "l", "x". @throws Error kInvalidArgument for another size.
    static Config of_size(const std::string& size);
  };

  explicit YoloV8(const Config& config);
  ~YoloV8() override;

  /// boxes [B, A, 4], scores [B, A, C], logits [B, A, 4·reg_max + C], cells [B, A, 3] and the maps
  /// p3, p4, p5.
  TensorMap forward(const TensorMap& inputs) override;
  at::Tensor loss(const TensorMap& outputs, const at::Tensor& targets) const override;
  int64_t classes() const override { return config_.num_classes; }
  Json config() const override { return write_config(config_); }

 private:
  struct Integral;
  struct Head;
  class Layers;

  Config config_;
  std::shared_ptr<Layers> model_;
};

}  // namespace plait::models
