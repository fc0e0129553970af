#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "plait/core/json.h"

namespace plait {

/// One operator of an ONNX graph.
struct OnnxNode {
  std::string op_type;  ///< "Conv"
  std::string name;
  std::string domain;  ///< "" for ONNX's own operators.
  std::vector<std::string> inputs, outputs;
  Json attributes;  ///< Numbers, texts and lists of them by name; tensors and graphs are left out.
};

/// A constant tensor as the file has it. Exactly one of the lists, `raw` or the external file holds
/// the values.
struct OnnxConstant {
  std::string name;
  std::string scope;      ///< Where a subgraph's tensor stands ("if_3.then_branch"), else "".
  bool is_node = false;   ///< A Constant node rather than an initializer.
  int32_t data_type = 0;  ///< TensorProto.DataType.
  std::vector<int64_t> dims;
  bool has_raw = false;
  std::string raw;  ///< Little endian.
  std::vector<float> floats;
  std::vector<int32_t> ints;
  std::vector<int64_t> longs;
  std::vector<double> doubles;
  std::vector<uint64_t> unsigned_longs;
  bool external = false;
  std::string location, offset, length;  ///< Of the external values, as texts.
};

/// What a model file says, without checks of the tensors.
struct OnnxContents {
  Json metadata;                        ///< See OnnxModel.
  std::vector<OnnxNode> nodes;          ///< Of the main graph, in the file's order.
  std::vector<OnnxConstant> constants;  ///< Initializers and Constant nodes, subgraphs included.
  std::vector<std::string> skipped;     ///< "name: why"
};

/// Parses the protocol buffer; the one place that sees protobuf.
/// @throws Error kCorruptData, kResourceLimit; kUnavailable in a build without protobuf.
OnnxContents read_onnx(std::span<const uint8_t> bytes, const std::string& name);
/// False in a build without protobuf.
bool onnx_is_available();

}  // namespace plait
