#pragma once
#include <memory>
#include <string>

#include "plait/core/feature_store.h"

namespace plait {

/// Features on disk: `dir`/shard-*.safetensors with tensors "<key>/<name>" and a digest per item.
/// Items gather in memory until a shard is full or `flush` is called; a shard is written beside and
/// renamed, so a crash loses at most the items not flushed. A shard that does not parse is deleted
/// when the store is opened, and an item whose digest is wrong counts as absent: both are simply
/// computed again. Beyond `max_bytes` the oldest shards go. Thread-safe; several processes may
/// share a folder (each sees the others' shards of the time it opened the store).
class DiskFeatureStore : public FeatureStore {
 public:
  struct Options {
    size_t shard_bytes = size_t{32} << 20;
    size_t max_bytes = size_t{4} << 30;
  };
  explicit DiskFeatureStore(std::string dir);
  DiskFeatureStore(std::string dir, Options options);
  ~DiskFeatureStore() override;  ///< Flushes; a failure is logged.

  std::optional<TensorMap> get(const std::string& key) override;
  void put(const std::string& key, const TensorMap& features) override;
  bool contains(const std::string& key) override;
  int64_t size() const override;
  void clear();  ///< Removes every item, on disk too.
  /// Writes what is pending. @throws Error kIo; what was pending stays readable.
  void flush();
  /// Corrupt shards and items met so far.
  int64_t corrupt() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace plait
