#pragma once
#include <vector>

#include "plait/core/config.h"
#include "plait/models/tasks/linear_head.h"

namespace plait::models {

/// Layer norm, dropout and a linear layer or MLP: features [B, D] → mean [B, R] and log_variance
/// [B, R] (within ±10). Loss: Gaussian negative log-likelihood without its constant, ½(log σ² + (y
/// − μ)²/σ²), mean over the target values that are not NaN (0 when there is none). Targets [B, R],
/// or [B] when R is 1. With a location and scale the layers work in such units, and outputs are in
/// the targets' own.
class Regression : public LinearHead {
 public:
  struct Config {
    int64_t width = 256;
    int64_t outputs = 1;
    int64_t hidden = 0;
    double dropout = 0.1;
    std::vector<double> location, scale;  ///< [R] of the targets; empty: 0 and 1
    void visit(ConfigVisitor& v);
    static Config tiny();
    void validate() const;
  };
  explicit Regression(const Config& config);
  TensorMap forward(const TensorMap& inputs) override;
  at::Tensor loss(const TensorMap& outputs, const at::Tensor& target) const override;
  Json config() const override { return write_config(config_); }

 private:
  Config config_;
  at::Tensor location_, scale_;  ///< [R] or undefined
};

}  // namespace plait::models
