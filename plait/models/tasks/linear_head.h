#pragma once
#include "plait/models/layers/layers.h"
#include "plait/models/tasks/head.h"

namespace plait::models {

/// The input "features", checked to be [B, width]. @throws Error kInvalidArgument naming `unit`.
const at::Tensor& head_features(const TensorMap& inputs, int64_t width, const char* unit);

/// What heads of numbers share: layer norm, dropout and a linear layer or, with hidden > 0, an MLP
/// with GELU.
class LinearHead : public Head {
 protected:
  LinearHead(int64_t width, int64_t hidden, double dropout, int64_t outputs);
  /// Features [B, width] → [B, outputs]. @throws Error kInvalidArgument naming `unit`.
  at::Tensor scores(const TensorMap& inputs, const char* unit);

 private:
  int64_t width_;
  std::shared_ptr<LayerNorm> norm_;
  std::shared_ptr<Linear> hidden_, output_;
  std::shared_ptr<Dropout> dropout_;
};

}  // namespace plait::models
