#include "plait/runtime/feature_cache.h"

#include <ATen/ATen.h>

#include <list>
#include <mutex>
#include <unordered_map>

#include "plait/core/disk_feature_store.h"
#include "plait/core/error.h"
#include "plait/core/hash.h"

namespace plait::runtime {

struct FeatureCache::State {
  using Item = std::pair<std::string, TensorMap>;
  size_t max_size = 0;
  mutable std::mutex mutex;
  std::list<Item> items;  ///< Most recently used first.
  std::unordered_map<std::string, std::list<Item>::iterator> index;
  std::unique_ptr<DiskFeatureStore> disk;
  Stats stats;

  void insert(const std::string& key, TensorMap features) {
    auto it = index.find(key);
    if (it != index.end()) {
      it->second->second = std::move(features);
      items.splice(items.begin(), items, it->second);
      return;
    }
    items.emplace_front(key, std::move(features));
    index[key] = items.begin();
    if (items.size() <= max_size) return;
    index.erase(items.back().first);
    items.pop_back();
    ++stats.evictions;
  }
};

FeatureCache::FeatureCache(int64_t max_size, const std::string& path)
    : state_(std::make_unique<State>()) {
  require(max_size >= 1, "cache", "expected a max_size of at least 1");
  state_->max_size = static_cast<size_t>(max_size);
  if (!path.empty()) state_->disk = std::make_unique<DiskFeatureStore>(path);
}

FeatureCache::~FeatureCache() = default;

std::optional<TensorMap> FeatureCache::get(const std::string& key) {
  State& s = *state_;
  std::unique_lock lock(s.mutex);
  auto it = s.index.find(key);
  if (it != s.index.end()) {
    ++s.stats.hits;
    s.items.splice(s.items.begin(), s.items, it->second);
    return it->second->second;
  }
  if (s.disk) {
    lock.unlock();  // Reading must not hold up those who find theirs in memory.
    std::optional<TensorMap> found = s.disk->get(content_hash(key));
    lock.lock();
    if (found) {
      ++s.stats.hits;
      s.insert(key, *found);
      return found;
    }
  }
  ++s.stats.misses;
  return std::nullopt;
}

void FeatureCache::put(const std::string& key, const TensorMap& features) {
  State& s = *state_;
  TensorMap detached;
  for (const auto& [name, tensor] : features) detached[name] = tensor.detach();
  if (s.disk) s.disk->put(content_hash(key), detached);
  std::lock_guard lock(s.mutex);
  s.insert(key, std::move(detached));
}

bool FeatureCache::contains(const std::string& key) {
  std::lock_guard lock(state_->mutex);
  return state_->index.count(key) > 0 ||
         (state_->disk && state_->disk->contains(content_hash(key)));
}

int64_t FeatureCache::size() const {
  std::lock_guard lock(state_->mutex);
  return static_cast<int64_t>(state_->items.size());
}

void FeatureCache::clear() {
  std::lock_guard lock(state_->mutex);
  state_->items.clear();
  state_->index.clear();
  if (state_->disk) state_->disk->clear();
}

FeatureCache::Stats FeatureCache::stats() const {
  std::lock_guard lock(state_->mutex);
  return state_->stats;
}

}  // namespace plait::runtime
