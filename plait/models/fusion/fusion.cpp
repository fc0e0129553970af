#include "plait/models/fusion/fusion.h"

namespace plait::models {

TensorMap Fusion::forward(const TensorMap& inputs) {
  FusionInput in;
  in.features = get_or_undefined(inputs, "features");
  in.present = get(inputs, "present", "fusion");
  in.quality = get_or_undefined(inputs, "quality");
  in.tokens = get_or_undefined(inputs, "tokens");
  in.token_stream = get_or_undefined(inputs, "token_stream");
  in.token_mask = get_or_undefined(inputs, "token_mask");
  in.logits = get_or_undefined(inputs, "logits");
  in.task = get_or_undefined(inputs, "task");
  FusionOutput out = fuse(in);
  TensorMap named;
  if (out.fused.defined()) named["fused"] = out.fused;
  if (out.weights.defined()) named["weights"] = out.weights;
  if (out.logits.defined()) named["logits"] = out.logits;
  if (out.auxiliary.defined()) named["auxiliary"] = out.auxiliary;
  return named;
}

}  // namespace plait::models
