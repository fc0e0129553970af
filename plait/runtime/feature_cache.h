#pragma once
#include <memory>
#include <string>

#include "plait/core/feature_store.h"

namespace plait::runtime {

/// The `max_size` most recently used features in memory. With `path`, what is put is written there
/// too and found again by the next process: the disk keeps everything up to its own bound, memory
/// only the recent part. Thread-safe.
class FeatureCache : public FeatureStore {
 public:
  struct Stats {
    int64_t hits = 0, misses = 0, evictions = 0;
  };
  /// `path`: a folder, made when missing; empty = memory only. @throws Error kInvalidArgument for
  /// max_size < 1, kIo.
  explicit FeatureCache(int64_t max_size = 1024, const std::string& path = "");
  ~FeatureCache() override;

  std::optional<TensorMap> get(const std::string& key) override;
  void put(const std::string& key, const TensorMap& features) override;
  bool contains(const std::string& key) override;
  int64_t size() const override;  ///< Items in memory.
  void clear();                   ///< Memory and disk.
  Stats stats() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace plait::runtime
