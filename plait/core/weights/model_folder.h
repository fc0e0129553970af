#pragma once
#include <string>
#include <vector>

#include "plait/core/json.h"
#include "plait/core/tensor_map.h"

namespace plait {

/// A folder in the Hugging Face layout, opened for reading: config.json and the weights from, in
/// this order, model.safetensors.index.json (shards), model.safetensors,
/// pytorch_model.bin.index.json, pytorch_model.bin, *.pth, model.bin (CTranslate2).
class ModelFolder {
 public:
  /// @throws Error kNotFound saying which files were looked for.
  static ModelFolder open(const std::string& dir);

  const std::string& dir() const { return dir_; }
  const Json& config() const { return config_; }  ///< Null when there is no config.json.
  /// Every tensor, whichever the format; safetensors are memory maps.
  TensorMap weights() const;
  /// Absolute path of a file of the folder, or "" when it is not there.
  /// @throws Error kInvalidArgument for an absolute name or one with "..".
  std::string file(const std::string& name) const;

 private:
  std::string dir_;
  Json config_;
};

/// Writes config.json (unless null) and model.safetensors, or shards of at most `max_shard_bytes`
/// (or one tensor) with an index. The folder is made; each file is replaced atomically, the index
/// last, so that after a crash the weights are the old ones, the new ones or missing, never a
/// mixture; weights of an earlier save under other names are removed.
/// @throws Error kIo, kInvalidArgument for a dtype that safetensors cannot hold.
void save_model_folder(const std::string& dir, const Json& config, const TensorMap& weights,
                       size_t max_shard_bytes = size_t{5} << 30);

}  // namespace plait
