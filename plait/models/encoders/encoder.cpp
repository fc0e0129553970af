#include "plait/models/encoders/encoder.h"

namespace plait::models {

TensorMap Encoder::forward(const TensorMap& inputs) {
  EncoderOutput out = encode(inputs);
  TensorMap named = {{"last_hidden_state", out.tokens}, {"pooled", out.pooled}};
  if (out.mask.defined()) named["mask"] = out.mask;
  return named;
}

}  // namespace plait::models
