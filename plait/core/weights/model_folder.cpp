#include "plait/core/weights/model_folder.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <set>

#include "plait/core/error.h"
#include "plait/core/weights/ctranslate2.h"
#include "plait/core/weights/pth.h"
#include "plait/core/weights/safetensors.h"

namespace plait {
namespace {

namespace fs = std::filesystem;

constexpr const char* kUnit = "model_folder";
constexpr const char* kConfig = "config.json";
constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

/// The first *.pth (by name) of the folder, or "".
std::string first_pth(const std::string& dir) {
  std::string first;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(dir, error)) {
    std::string name = entry.path().filename();
    if (entry.path().extension() == ".pth" && entry.is_regular_file(error) &&
        (first.empty() || name < first))
      first = name;
  }
  return first;
}

std::string weights_file(const ModelFolder& folder) {
  for (const char* name : {kIndex, kSingle, "pytorch_model.bin.index.json", "pytorch_model.bin"}) {
    if (!folder.file(name).empty()) return name;
  }
  std::string pth = first_pth(folder.dir());
  if (!pth.empty()) return pth;
  return folder.file("model.bin").empty() ? "" : "model.bin";
}

TensorMap read_weights(const std::string& path) {
  fs::path name = fs::path(path).filename();
  if (name.extension() == ".safetensors") return load_safetensors(path);
  if (name == "model.bin") return load_ctranslate2(path).variables;
  return load_pth(path);
}

/// {"weight_map": {tensor: file}}: reads each shard once and takes the tensors that the map gives
/// it.
TensorMap read_shards(const ModelFolder& folder, const std::string& index_name) {
  std::string index_path = folder.file(index_name);
  Json index = Json::read(index_path);
  const Json* map = index.find("weight_map");
  if (!map || !map->is_object()) {
    fail(ErrorCode::kCorruptData, kUnit, index_path + ": expected an object \"weight_map\"");
  }
  std::map<std::string, std::vector<std::string>> by_shard;
  for (const auto& [tensor, shard] : map->members()) {
    if (!shard.is_string())
      fail(ErrorCode::kCorruptData, kUnit, index_path + ": expected file names in \"weight_map\"");
    by_shard[shard.as_string()].push_back(tensor);
  }
  TensorMap out;
  for (const auto& [shard, names] : by_shard) {
    std::string path = folder.file(shard);
    if (path.empty())
      fail(ErrorCode::kNotFound, kUnit,
           index_path + ": expected the shard " + shard + ", got no such file");
    TensorMap tensors = read_weights(path);
    for (const std::string& name : names) {
      auto found = tensors.find(name);
      if (found == tensors.end()) {
        fail(ErrorCode::kCorruptData, kUnit,
             path + ": expected a tensor \"" + name + "\" as the index says, got none");
      }
      if (!out.emplace(name, found->second).second) {
        fail(ErrorCode::kCorruptData, kUnit,
             index_path + ": tensor \"" + name + "\" appears twice");
      }
    }
  }
  return out;
}

std::string shard_name(size_t index, size_t count) {
  char name[64];
  std::snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", index + 1, count);
  return name;
}

bool is_weights(const std::string& name) {
  return name == kSingle || name == kIndex ||
         (name.starts_with("model-") && name.ends_with(".safetensors"));
}

/// Weights of an earlier save that the new ones replaced under other names.
void remove_stale(const std::string& dir, const std::set<std::string>& written) {
  std::error_code error;
  std::vector<fs::path> stale;
  for (const auto& entry : fs::directory_iterator(dir, error)) {
    std::string name = entry.path().filename();
    if (is_weights(name) && !written.count(name)) stale.push_back(entry.path());
  }
  for (const fs::path& path : stale) fs::remove(path, error);
}

}  // namespace

ModelFolder ModelFolder::open(const std::string& dir) {
  std::error_code error;
  if (!fs::is_directory(dir, error))
    fail(ErrorCode::kNotFound, kUnit, "expected a folder, got " + dir);
  ModelFolder folder;
  folder.dir_ = fs::canonical(dir, error).string();
  if (error) fail(ErrorCode::kIo, kUnit, dir + ": " + error.message());
  std::string config = folder.file(kConfig);
  if (!config.empty()) folder.config_ = Json::read(config);
  if (config.empty() && weights_file(folder).empty()) {
    fail(ErrorCode::kNotFound, kUnit,
         dir +
             ": expected config.json or weights (model.safetensors[.index.json], "
             "pytorch_model.bin[.index.json], "
             "*.pth, model.bin), got none of them");
  }
  return folder;
}

TensorMap ModelFolder::weights() const {
  std::string name = weights_file(*this);
  if (name.empty()) {
    fail(ErrorCode::kNotFound, kUnit,
         dir_ +
             ": expected weights (model.safetensors[.index.json], pytorch_model.bin[.index.json], "
             "*.pth, model.bin), "
             "got none of them");
  }
  if (name.ends_with(".index.json")) return read_shards(*this, name);
  return read_weights(file(name));
}

std::string ModelFolder::file(const std::string& name) const {
  fs::path relative(name);
  bool leaves = name.empty() || relative.is_absolute() || name.find('\0') != std::string::npos;
  for (const fs::path& part : relative) leaves = leaves || part == "..";
  if (leaves)
    fail(ErrorCode::kInvalidArgument, kUnit,
         dir_ + ": expected a name inside the folder, got \"" + name + "\"");
  fs::path path = fs::path(dir_) / relative;
  std::error_code error;
  return fs::is_regular_file(path, error) ? path.string() : "";
}

void save_model_folder(const std::string& dir, const Json& config, const TensorMap& weights,
                       size_t max_shard_bytes) {
  std::error_code error;
  fs::create_directories(dir, error);
  if (error) fail(ErrorCode::kIo, kUnit, "cannot make the folder " + dir + ": " + error.message());

  std::vector<TensorMap> shards(1);
  size_t in_shard = 0;
  size_t total = 0;
  for (const auto& [name, tensor] : weights) {
    size_t size = tensor.nbytes();
    if (in_shard > 0 && in_shard + size > max_shard_bytes) {
      shards.emplace_back();
      in_shard = 0;
    }
    shards.back().emplace(name, tensor);
    in_shard += size;
    total += size;
  }
  const std::map<std::string, std::string> metadata = {{"format", "pt"}};
  std::set<std::string> written;
  auto path_of = [&](const std::string& name) {
    written.insert(name);
    return (fs::path(dir) / name).string();
  };
  if (shards.size() == 1) {
    save_safetensors(path_of(kSingle), shards[0], metadata);
    // Readers look for an index first: an old one must not hide the new file.
    fs::remove(fs::path(dir) / kIndex, error);
  } else {
    Json::Object map;
    // With the old index in place a crash here would leave a mixture of old and new shards that
    // looks whole.
    fs::remove(fs::path(dir) / kIndex, error);
    for (size_t i = 0; i < shards.size(); ++i) {
      std::string name = shard_name(i, shards.size());
      save_safetensors(path_of(name), shards[i], metadata);
      for (const auto& [tensor, value] : shards[i]) map.emplace_back(tensor, name);
    }
    Json index = Json::object(
        {{"metadata", Json::object({{"total_size", total}})}, {"weight_map", Json(map)}});
    index.write(path_of(kIndex));
  }
  if (!config.is_null()) config.write((fs::path(dir) / kConfig).string());
  remove_stale(dir, written);
}

}  // namespace plait
