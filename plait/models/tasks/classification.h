#pragma once
#include "plait/core/config.h"
#include "plait/models/tasks/linear_head.h"

namespace plait::models {

/// Layer norm, dropout and a linear layer (or, with hidden > 0, an MLP with GELU): features [B, D]
/// → logits [B, K]. Loss: cross-entropy with label smoothing, mean over the items whose class is
/// not -1 (0 when there is none).
class Classification : public LinearHead {
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
};

}  // namespace plait::models
