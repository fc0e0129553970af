#pragma once
#include "plait/core/config.h"
#include "plait/models/tasks/linear_head.h"

namespace plait::models {

/// Any number of labels at once, each a question of its own: layer norm, dropout and a linear layer
/// or MLP, features [B, D] → label_logits [B, L] (log-odds). Loss: binary cross-entropy, mean over
/// the labels that are known; targets [B, L] of 0 and 1, -1 where unknown.
class MultiLabel : public LinearHead {
 public:
  struct Config {
    int64_t width = 256;
    int64_t classes = 2;  ///< Number of labels
    int64_t hidden = 0;
    double dropout = 0.1;
    void visit(ConfigVisitor& v);
    static Config tiny();
    void validate() const {}
  };
  explicit MultiLabel(const Config& config);
  TensorMap forward(const TensorMap& inputs) override;
  at::Tensor loss(const TensorMap& outputs, const at::Tensor& target) const override;
  Json config() const override { return write_config(config_); }

 private:
  Config config_;
};

}  // namespace plait::models
