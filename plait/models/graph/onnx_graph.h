#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "plait/core/tensor_map.h"
#include "plait/core/weights/onnx.h"

namespace plait::models {

/// A published network that is run operator by operator as its ONNX file says, for weights whose
/// structure is known from the file alone. Everything is checked when it is made: the operators and
/// their attributes against those that are supported, the names against each other. Chains of
/// operators that have a fused kernel (hard-swish, affine maps behind a convolution) are joined.
/// Format and meaning of the operators: https://onnx.ai/onnx/operators. Thread-safe after loading.
class OnnxGraph {
 public:
  /// An .onnx file, a TensorFlow.js graph model (.json, see import_tfjs), or what `save` has
  /// written. @throws Error kUnavailable naming the operator or
  /// the attribute that is not supported; kCorruptData for names that no operator gives.
  static OnnxGraph load(const std::string& path);
  /// `where` stands for the file in messages.
  explicit OnnxGraph(OnnxModel model, const std::string& where = "onnx");

  /// Values of the graph's outputs by name; `inputs` has a tensor of every input. Floating values
  /// stand on the graph's device. @throws Error kInvalidArgument naming the operator whose inputs
  /// do not fit, kResourceLimit when a result would take more than 2^30 values.
  TensorMap run(const TensorMap& inputs) const;

  /// One safetensors file: the weights, and the operators as JSON in its metadata ("graph").
  void save(const std::string& path) const;
  void to(c10::Device device);

  const std::vector<std::string>& inputs() const { return inputs_; }
  const std::vector<std::string>& outputs() const { return outputs_; }
  /// Texts that the file carries beside the network.
  const Json& properties() const { return properties_; }
  /// So many operators run, after joining.
  size_t size() const;

 private:
  struct Step;
  std::vector<std::string> inputs_, outputs_;
  Json properties_;
  std::string where_;
  OnnxModel model_;                 ///< As joined; its tensors are the weights.
  std::vector<std::string> slots_;  ///< Names of the values by number
  std::shared_ptr<const std::vector<Step>> steps_;
  void plan();
};

}  // namespace plait::models
