#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "plait/core/json.h"
#include "plait/core/tensor_map.h"

namespace plait {

/// One tensor of a TensorFlow.js weight manifest.
struct TfjsTensor {
  std::string name;
  std::string dtype;           ///< "float32", "int32", "bool", "uint8", "complex64" or "string".
  std::string quantisation;    ///< "" (stored as it is), "uint8", "uint16" or "float16".
  double scale = 1, min = 0;   ///< Value = stored · scale + min, for uint8 and uint16.
  std::vector<int64_t> shape;  ///< As TensorFlow has it: kernels [height, width, in, out].
  size_t bytes = 0;            ///< As stored.
};

/// A TensorFlow.js model opened for reading: a model.json (graph or layers model) or a bare weight
/// manifest (a JSON array), with its shards beside it as memory maps. The manifest is checked in
/// full when it is opened. Thread-safe. Format: https://github.com/tensorflow/tfjs
/// (tfjs-core/src/io/types.ts, io_utils.ts).
class TfjsFile {
 public:
  /// The bytes of a shard, and what keeps them alive.
  struct Shard {
    std::span<const uint8_t> bytes;
    std::shared_ptr<const void> owner;
  };

  /// @throws Error kNotFound for a missing shard; kCorruptData naming the file, the tensor and what
  /// is wrong; kIo.
  static TfjsFile open(const std::string& path);
  /// The same for a manifest in memory; `shard` gives the bytes of each path. `name` stands for the
  /// file in messages.
  static TfjsFile parse(const std::string& json, const std::string& name,
                        const std::function<Shard(const std::string& path)>& shard);

  /// model.json without its manifest ("format", "modelTopology", "signature" …); null for a bare
  /// manifest.
  const Json& model() const { return model_; }
  /// In the manifest's order.
  const std::vector<TfjsTensor>& tensors() const { return tensors_; }
  /// The tensor of that name, or nullptr.
  const TfjsTensor* find(const std::string& name) const;
  /// True but for texts and complex numbers.
  static bool can_load(const TfjsTensor& tensor);
  /// The values in their dtype, dequantised (fresh memory, or a view of the map that keeps it
  /// alive: read it, do not write). @throws Error kNotFound; kUnavailable for texts and complex
  /// numbers.
  at::Tensor load(const std::string& name) const;
  /// load() of every tensor that can be loaded.
  TensorMap load_all() const;

 private:
  class Reader;
  std::string name_;
  Json model_;
  std::vector<TfjsTensor> tensors_;
  std::vector<Shard> values_;  ///< Of each tensor.
  std::map<std::string, size_t> by_name_;
};

}  // namespace plait
