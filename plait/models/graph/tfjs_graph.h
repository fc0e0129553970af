#pragma once
#include <string>
#include <vector>

#include "plait/core/weights/onnx.h"
#include "plait/core/weights/tfjs.h"

namespace plait::models {

/// A TensorFlow.js graph model (model.json with its topology) in ONNX's operators, for OnnxGraph.
/// Inputs and outputs are laid out as the file has them, pictures [B, H, W, C]; in between,
/// convolutions and what lies among them work on [B, C, H, W]. Only what `outputs` need is taken
/// over; empty: the outputs of the file's signature, else the values that nothing reads.
/// @throws Error kUnavailable naming the operator or the attribute that is not supported;
/// kCorruptData for what is no graph model, for names that no operator gives and for circles.
OnnxModel import_tfjs(const TfjsFile& file, const std::vector<std::string>& outputs = {},
                      const std::string& where = "tfjs");

}  // namespace plait::models
