#pragma once
#include <set>
#include <string>
#include <vector>

#include "plait/core/tensor_map.h"
#include "plait/core/weights/onnx_schema.h"

namespace plait {

struct OnnxOptions {
  /// Quantised tensors in fp32 under their own names: the constant inputs of DequantizeLinear
  /// (scale and zero point for all, per axis or per block), and the weights of MatMulInteger and
  /// ConvInteger as onnxruntime's dynamic quantisation names them ("x_quantized", "x_scale",
  /// "x_zero_point").
  bool dequantize = false;
};

/// The constants of an ONNX model: initializers and Constant nodes, those of subgraphs (If, Loop)
/// and functions included. Format: https://onnx.ai/onnx/repo-docs/IR.html (onnx.proto).
struct OnnxModel {
  /// {"ir_version", "producer", "producer_version", "graph", "opsets": {domain: version}, "inputs":
  /// [names], "outputs": [names], "properties": {key: text}}
  Json metadata;
  /// By name: floats of 8 to 64 bits, integers, booleans; 4-bit integers take 8 bits each. Where a
  /// subgraph reuses a name, its tensor is "<place>.<name>".
  TensorMap tensors;
  std::set<std::string> constant_nodes;  ///< Those of `tensors` that are Constant nodes.
  std::vector<OnnxNode> nodes;           ///< Of the main graph, in the file's order.
  std::vector<std::string> skipped;      ///< "name: why": texts, sparse and complex tensors.
};

/// Reads a model; values that stand in other files must be in the model's folder or below it and
/// are memory maps. Thread-safe. @throws Error kNotFound, kIo; kCorruptData naming the file and the
/// tensor; kResourceLimit; kUnavailable in a build without protobuf.
OnnxModel load_onnx(const std::string& path, const OnnxOptions& options = {});
/// The same for bytes in memory (without external values); `name` stands for the file in messages.
OnnxModel parse_onnx(std::span<const uint8_t> bytes, const std::string& name,
                     const OnnxOptions& options = {});

}  // namespace plait
