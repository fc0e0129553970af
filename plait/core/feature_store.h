#pragma once
#include <optional>
#include <string>

#include "plait/core/tensor_map.h"

namespace plait {

/// Features of one item from one frozen encoder ("tokens" [T, D], "mask" [T], "pooled" [D]), by
/// key. The key is feature_key(content, fingerprint), so a changed file, weight or processor never
/// finds an old feature. Implementations are thread-safe.
class FeatureStore {
 public:
  virtual ~FeatureStore() = default;
  /// The tensors, or nothing when the key is not there. They are shared: do not write to them.
  virtual std::optional<TensorMap> get(const std::string& key) = 0;
  /// Adds or replaces. A store may forget items at any time; a failed write is no error.
  virtual void put(const std::string& key, const TensorMap& features) = 0;
  virtual bool contains(const std::string& key) = 0;
  virtual int64_t size() const = 0;
};

/// Digest of an encoder: its config (processor included) and every weight. Reads all weights, so
/// call it once per model.
std::string encoder_fingerprint(const std::string& config, const TensorMap& weights);

/// Key of an item: digest of its content together with the encoder's fingerprint.
std::string feature_key(std::string_view content, const std::string& fingerprint);
/// The same for a tensor (dtype, shape and values).
std::string feature_key(const at::Tensor& content, const std::string& fingerprint);

}  // namespace plait
