#pragma once
#include "plait/core/config.h"
#include "plait/models/layers/layers.h"
#include "plait/models/tasks/head.h"

namespace plait::models {

/// Layer norm, dropout and a linear layer (or, with hidden > 0, an MLP with GELU): features [B, D]
/// → logits [B, K]. Loss: cross-entropy with label smoothing, mean over the items whose class is
/// not -1 (0 when there is none).
class Classification : public Head {
 public:
  struct Config {
    int64_t width = 256;
    int64_t classes = 2;
    int64_t hidden = 0;
    double dropout = 0.1;
    double label_smoothing = 0.0;
    void visit(ConfigVisitor& v);
    static Config tiny();
    void validate() const {}
  };
  explicit Classification(const Config& config);
  TensorMap forward(const TensorMap& inputs) override;
  at::Tensor loss(const TensorMap& outputs, const at::Tensor& target) const override;
  Json config() const override { return write_config(config_); }

 private:
  Config config_;
  std::shared_ptr<LayerNorm> norm_;
  std::shared_ptr<Linear> hidden_, output_;
  std::shared_ptr<Dropout> dropout_;
};

/// The input "features", checked to be [B, width]. @throws Error kInvalidArgument naming `unit`.
const at::Tensor& head_features(const TensorMap& inputs, int64_t width, const char* unit);

}  // namespace plait::models
