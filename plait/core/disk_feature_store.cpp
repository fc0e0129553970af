#include "plait/core/disk_feature_store.h"

#include <ATen/ATen.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <mutex>

#include "plait/core/error.h"
#include "plait/core/hash.h"
#include "plait/core/log.h"
#include "plait/core/weights/safetensors.h"

namespace fs = std::filesystem;

namespace plait {
namespace {

/// What an item is worth: its tensors, dtypes and shapes included.
std::string digest(const TensorMap& features) { return encoder_fingerprint("", features); }

size_t bytes_of(const TensorMap& features) {
  size_t n = 0;
  for (const auto& [name, tensor] : features) n += tensor.nbytes() + name.size() + 64;
  return n;
}

bool is_shard(const fs::path& path) {
  return path.filename().string().rfind("shard-", 0) == 0 && path.extension() == ".safetensors";
}

}  // namespace

struct DiskFeatureStore::State {
  struct Shard {
    std::string path;
    SafetensorsFile file;
    size_t bytes = 0;
    std::map<std::string, std::vector<std::string>> items;  ///< Key → names of its tensors.
  };
  std::string dir;
  Options options;
  mutable std::mutex mutex;
  std::map<std::string, std::shared_ptr<Shard>> shards;  ///< By file name, oldest first.
  std::map<std::string, std::shared_ptr<Shard>> index;   ///< Key → the newest shard that has it.
  std::map<std::string, TensorMap> pending;
  size_t pending_bytes = 0;
  int64_t corrupt = 0, next = 0;
  bool warned = false;

  void open_shard(const std::string& path) {
    auto shard =
        std::make_shared<Shard>(Shard{path, SafetensorsFile::open(path), fs::file_size(path), {}});
    for (const std::string& name : shard->file.names()) {
      size_t slash = name.find('/');
      if (slash == std::string::npos)
        fail(ErrorCode::kCorruptData, "features", path + ": unexpected tensor " + name);
      shard->items[name.substr(0, slash)].push_back(name.substr(slash + 1));
    }
    shards[fs::path(path).filename().string()] = shard;
    for (const auto& [key, names] : shard->items) index[key] = shard;
  }

  void forget(const std::string& file) {
    auto it = shards.find(file);
    std::shared_ptr<Shard> shard = it->second;
    for (const auto& [key, names] : shard->items) {
      auto entry = index.find(key);
      if (entry != index.end() && entry->second == shard) index.erase(entry);
    }
    std::error_code ignored;
    fs::remove(shard->path, ignored);  // Tensors handed out keep the map of the removed file alive.
    shards.erase(it);
  }

  void prune() {
    size_t total = 0;
    for (const auto& [file, shard] : shards) total += shard->bytes;
    while (total > options.max_bytes && shards.size() > 1) {
      total -= shards.begin()->second->bytes;
      forget(shards.begin()->first);
    }
  }

  void write_pending() {
    if (pending.empty()) return;
    TensorMap tensors;
    std::map<std::string, std::string> digests;
    for (const auto& [key, features] : pending) {
      for (const auto& [name, tensor] : features) tensors[key + "/" + name] = tensor;
      digests[key] = digest(features);
    }
    char name[80];
    // The number keeps the age, the process and time keep writers of one folder apart.
    std::snprintf(name, sizeof name, "shard-%010ld-%08lx.safetensors", static_cast<long>(next),
                  static_cast<unsigned long>(
                      mix_seed(::getpid(), reinterpret_cast<uintptr_t>(this), next) & 0xffffffff));
    std::string path = dir + "/" + name;
    save_safetensors(path, tensors, digests);
    ++next;
    open_shard(path);
    pending.clear();
    pending_bytes = 0;
    prune();
  }

  /// Writing is best effort: without space the features are computed again next time.
  void try_write() {
    try {
      write_pending();
    } catch (const std::exception& e) {
      if (!warned) log_warning("features", std::string("the cache cannot be written: ") + e.what());
      warned = true;
      if (pending_bytes > 4 * options.shard_bytes) {
        pending.clear();
        pending_bytes = 0;
      }
    }
  }
};

DiskFeatureStore::DiskFeatureStore(std::string dir) : DiskFeatureStore(std::move(dir), Options()) {}

DiskFeatureStore::DiskFeatureStore(std::string dir, Options options)
    : state_(std::make_unique<State>()) {
  State& s = *state_;
  s.dir = std::move(dir);
  s.options = options;
  std::error_code error;
  fs::create_directories(s.dir, error);
  if (error) fail(ErrorCode::kIo, "features", "cannot make " + s.dir + ": " + error.message());
  std::vector<std::string> found;
  for (const auto& entry : fs::directory_iterator(s.dir, error)) {
    if (is_shard(entry.path())) found.push_back(entry.path().string());
  }
  if (error) fail(ErrorCode::kIo, "features", "cannot read " + s.dir + ": " + error.message());
  std::sort(found.begin(), found.end());
  for (const std::string& path : found) {
    s.next =
        std::max<int64_t>(s.next, std::atoll(fs::path(path).filename().string().c_str() + 6) + 1);
    try {
      s.open_shard(path);
    } catch (const Error& e) {
      if (e.code() == ErrorCode::kNotFound) continue;  // Another process pruned it meanwhile.
      log_warning("features", std::string("removing a damaged shard: ") + e.what());
      ++s.corrupt;
      fs::remove(path, error);
    }
  }
  s.prune();
}

DiskFeatureStore::~DiskFeatureStore() { state_->try_write(); }

std::optional<TensorMap> DiskFeatureStore::get(const std::string& key) {
  State& s = *state_;
  std::shared_ptr<State::Shard> shard;
  {
    std::lock_guard lock(s.mutex);
    auto pending = s.pending.find(key);
    if (pending != s.pending.end()) return pending->second;
    auto it = s.index.find(key);
    if (it == s.index.end()) return std::nullopt;
    shard = it->second;
  }
  TensorMap out;
  for (const std::string& name : shard->items.at(key))
    out[name] = shard->file.tensor(key + "/" + name);
  auto expected = shard->file.metadata().find(key);
  if (expected != shard->file.metadata().end() && expected->second == digest(out)) return out;
  std::lock_guard lock(s.mutex);
  ++s.corrupt;
  auto it = s.index.find(key);
  if (it != s.index.end() && it->second == shard) s.index.erase(it);
  return std::nullopt;
}

void DiskFeatureStore::put(const std::string& key, const TensorMap& features) {
  require(!key.empty() && key.find('/') == std::string::npos && key != "__metadata__", "features",
          "expected a key without slashes");
  TensorMap copies;
  for (const auto& [name, tensor] : features)
    copies[name] = tensor.detach().to(at::kCPU).contiguous();
  require(!copies.empty(), "features", "expected at least one tensor");
  State& s = *state_;
  std::lock_guard lock(s.mutex);
  auto old = s.pending.find(key);
  if (old != s.pending.end()) s.pending_bytes -= bytes_of(old->second);
  s.pending_bytes += bytes_of(copies);
  s.pending[key] = std::move(copies);
  if (s.pending_bytes >= s.options.shard_bytes) s.try_write();
}

bool DiskFeatureStore::contains(const std::string& key) {
  std::lock_guard lock(state_->mutex);
  return state_->pending.count(key) > 0 || state_->index.count(key) > 0;
}

int64_t DiskFeatureStore::size() const {
  std::lock_guard lock(state_->mutex);
  auto n = static_cast<int64_t>(state_->index.size());
  for (const auto& [key, features] : state_->pending) n += state_->index.count(key) == 0;
  return n;
}

void DiskFeatureStore::clear() {
  std::lock_guard lock(state_->mutex);
  state_->pending.clear();
  state_->pending_bytes = 0;
  while (!state_->shards.empty()) state_->forget(state_->shards.begin()->first);
  state_->index.clear();
}

void DiskFeatureStore::flush() {
  std::lock_guard lock(state_->mutex);
  state_->write_pending();
}

int64_t DiskFeatureStore::corrupt() const {
  std::lock_guard lock(state_->mutex);
  return state_->corrupt;
}

}  // namespace plait
