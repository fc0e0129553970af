#include "plait/models/tasks/linear_head.h"

#include <ATen/ATen.h>

#include "plait/core/error.h"

namespace plait::models {

const at::Tensor& head_features(const TensorMap& inputs, int64_t width, const char* unit) {
  const at::Tensor& x = get(inputs, "features", unit);
  if (x.dim() != 2 || x.size(1) != width) {
    fail(ErrorCode::kInvalidArgument, unit,
         "expected features [B, " + std::to_string(width) + "], got " + describe(x));
  }
  return x;
}

LinearHead::LinearHead(int64_t width, int64_t hidden, double dropout, int64_t outputs)
    : width_(width) {
  norm_ = add<LayerNorm>("norm", width);
  if (hidden > 0) hidden_ = add<Linear>("hidden", width, hidden);
  dropout_ = add<Dropout>("dropout", dropout);
  output_ = add<Linear>("output", hidden > 0 ? hidden : width, outputs);
}

at::Tensor LinearHead::scores(const TensorMap& inputs, const char* unit) {
  at::Tensor x = (*norm_)(head_features(inputs, width_, unit));
  if (hidden_) x = at::gelu((*hidden_)(x));
  return (*output_)((*dropout_)(x));
}

}  // namespace plait::models
