#include "plait/models/decoders/decoder.h"

#include <ATen/ATen.h>

namespace plait::models {

TensorMap Decoder::forward(const TensorMap& inputs) {
  at::Tensor hidden = hidden_states(inputs);
  TensorMap out = {{"last_hidden_state", hidden}, {"logits", word_logits(hidden)}};
  if (at::Tensor mask = get_or_undefined(inputs, "attention_mask"); mask.defined())
    out["mask"] = mask.to(at::kBool);
  return out;
}

}  // namespace plait::models
