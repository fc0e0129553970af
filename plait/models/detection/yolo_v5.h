#pragma once
#include <memory>
#include <string>
#include <vector>

#include "plait/core/config.h"
#include "plait/models/detection/detector.h"

namespace plait::models {

/// The layout known as YOLOv5 (release 6 and later), written from its published description: a
/// backbone of C3 blocks (https://arxiv.org/abs/1911.11929), pyramid pooling, path aggregation, and
/// three anchor boxes at each place of three maps. Weight names are those of the published
/// checkpoints; pixels are 0 … 1 in the order red, green, blue. Trained with YOLOX's loss.
class YoloV5 : public Detector {
 public:
  struct Config {
    int64_t num_classes = 80;
    double depth = 0.33;
    double width = 0.25;
    /// Width and height in pixels of each level's anchors, fine to coarse.
    std::vector<double> anchors = {10, 13, 16,  30,  33, 23,  30,  61,  62,
                                   45, 59, 119, 116, 90, 156, 198, 373, 326};
    std::string hidden_act = "silu";
    double batch_norm_eps = 1e-3;
    double batch_norm_momentum = 0.03;

    void visit(ConfigVisitor& v);
    void validate() const;
    static Config tiny();
    /// "n", "s", "m", "l", "x". @throws Error kInvalidArgument for another size.
    static Config of_size(const std::string& size);
  };

  explicit YoloV5(const Config& config);
  ~YoloV5() override;

  /// boxes [B, A, 4], scores [B, A, C] (presence times class), logits [B, A, 5 + C], cells [B, A,
  /// 3] and the maps p3, p4, p5; A counts anchors, then rows, then columns of each level.
  TensorMap forward(const TensorMap& inputs) override;
  at::Tensor loss(const TensorMap& outputs, const at::Tensor& targets) const override;
  int64_t classes() const override { return config_.num_classes; }
  Json config() const override { return write_config(config_); }

 private:
  struct Head;
  class Layers;

  Config config_;
  std::shared_ptr<Layers> model_;
};

}  // namespace plait::models
