#pragma once
#include <memory>
#include <string>

#include "plait/core/config.h"
#include "plait/models/detection/detector.h"
#include "plait/models/layers/layers.h"

/// YOLOX: Ge et al., "YOLOX: Exceeding YOLO Series in 2021", https://arxiv.org/abs/2107.08430.
/// Names are those of the published checkpoints, whose pixels are 0 … 255 in the order blue, green,
/// red.
namespace plait::models {

class YoloX : public Detector {
 public:
  struct Config {
    int64_t num_classes = 80;
    double depth = 0.33;
    double width = 0.5;
    bool depthwise = false;
    std::string hidden_act = "silu";
    double batch_norm_eps = 1e-3;
    double batch_norm_momentum = 0.03;

    void visit(ConfigVisitor& v);
    void validate() const;
    static Config tiny();
    /// "nano", "tiny", "s", "m", "l", "x". @throws Error kInvalidArgument for another size.
    static Config of_size(const std::string& size);
    /// Channels of the stem.
    int64_t base() const;
    /// Bottlenecks of the first stage and of the neck's.
    int64_t blocks() const;
  };

  explicit YoloX(const Config& config);
  ~YoloX() override;

  /// boxes [B, A, 4], scores [B, A, C] (presence times class), logits [B, A, 5 + C] as the head
  /// gives them, cells [B, A, 3] (centre and stride in pixels), and the neck's maps p3, p4, p5
  /// [B, 256·width …, H/8 …]. A = H·W/64 + H·W/256 + H·W/1024.
  TensorMap forward(const TensorMap& inputs) override;
  at::Tensor loss(const TensorMap& outputs, const at::Tensor& targets) const override;
  int64_t classes() const override { return config_.num_classes; }
  Json config() const override { return write_config(config_); }

 private:
  struct Backbone;
  struct Neck;
  struct Head;

  Config config_;
  std::shared_ptr<Neck> backbone_;
  std::shared_ptr<Head> head_;
};

}  // namespace plait::models
