#pragma once
#include "plait/core/weights/onnx.h"

namespace plait::models::onnx {

/// Rewrites the graph into fewer operators with the same result up to rounding: what exporters
/// write as Add, Clip, Mul, Div becomes HardSwish; constant factors, sums and batch norms behind a
/// convolution move into its weights. Tensors that no operator uses are dropped.
void join_operators(OnnxModel& model);

}  // namespace plait::models::onnx
