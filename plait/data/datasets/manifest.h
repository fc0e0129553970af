#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "plait/core/json.h"

namespace plait::data {

/// Holds the streams of a prepared data set that are kept as tensors, when it has any: by stream
/// float32 [N, D] (table) or [N, T, C] (series), or uint8 [N, H, W, 3] (image).
inline constexpr const char* kTablesFile = "tables.safetensors";

/// One item of a prepared data set: a line of manifest.jsonl.
struct ManifestItem {
  std::string id;
  std::string group = {};  ///< Items of one group are never on both sides of a split.
  std::map<std::string, std::string> texts = {};  ///< Stream → text.
  std::map<std::string, std::string> files =
      {};            ///< Stream → path, relative to the manifest's folder.
  int64_t row = -1;  ///< Of the tensors in kTablesFile; -1: none.
  std::map<std::string, Json> labels = {};
};

/// Writes `dir`/manifest.jsonl.
void write_manifest(const std::string& dir, const std::vector<ManifestItem>& items);

/// @throws Error kCorruptData that names the file and line; kNotFound. Paths that leave the folder
/// are refused.
std::vector<ManifestItem> read_manifest(const std::string& dir);

/// Lower case, without punctuation, articles and double spaces: captions that differ in nothing
/// else share a group.
std::string caption_group(const std::string& caption);

/// 0 training, 1 validation, 2 test for each item: whole groups, stratified by `label` (of a
/// group's first item), ordered by SHA-256(seed, group), so that adding items hardly moves others.
std::vector<int> assign_splits(const std::vector<ManifestItem>& items, const std::string& label,
                               int64_t seed, double validation, double test);

}  // namespace plait::data
