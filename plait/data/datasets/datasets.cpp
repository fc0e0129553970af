#include "plait/data/datasets/datasets.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "plait/core/error.h"
#include "plait/core/weights/safetensors.h"
#include "plait/data/datasets/prepare.h"

namespace plait::data {
namespace {

const std::vector<DatasetAdapter>& adapters() {
  static const std::vector<DatasetAdapter> kAdapters{
      stamps_dataset(),          emoji_dataset(),
      openclipart_dataset(),     everyday_dataset(),
      handwritten_dataset(),     bearing_dataset(),
      bearing_shifted_dataset(), audio_visual_digits_dataset(),
      basic_motions_dataset(),   har_dataset()};
  return kAdapters;
}

const DatasetAdapter& adapter(const std::string& name) {
  std::string names;
  for (const DatasetAdapter& one : adapters()) {
    if (one.info.name == name) return one;
    names += (names.empty() ? "" : ", ") + one.info.name;
  }
  fail(ErrorCode::kInvalidArgument, "datasets",
       "expected one of " + names + ", got \"" + name + "\"");
}

std::string key_of(const DatasetAdapter& one) {
  return "datasets/" + one.info.name + "-" + std::to_string(one.revision);
}

bool has_manifest(const std::string& dir) {
  return std::filesystem::exists(dir + "/manifest.jsonl");
}

std::vector<std::string> chosen_streams(const DatasetInfo& info, const DatasetOptions& options) {
  std::set<std::string> known;
  std::vector<std::string> usual;
  for (const auto& [stream, modality] : info.streams) usual.push_back(stream);
  if (options.streams.empty()) return usual;
  for (const StreamList* list : {&info.streams, &info.more_streams}) {
    for (const auto& [stream, modality] : *list) known.insert(stream);
  }
  for (const std::string& stream : options.streams) {
    if (known.count(stream) > 0) continue;
    std::string names;
    for (const std::string& one : known) names += (names.empty() ? "" : ", ") + one;
    fail(ErrorCode::kInvalidArgument, "datasets",
         info.name + " has the streams " + names + ", got \"" + stream + "\"");
  }
  return options.streams;
}

/// The streams kept as tensors, read into memory; empty when no item has any.
TensorMap read_tables(const std::vector<ManifestItem>& items, const std::string& dir) {
  if (std::none_of(items.begin(), items.end(), [](const auto& item) { return item.row >= 0; }))
    return {};
  TensorMap tables = load_safetensors(dir + "/" + kTablesFile);
  for (auto& [stream, table] : tables) {
    const bool picture = table.dim() == 4 && table.scalar_type() == at::kByte;
    if (!picture && (table.dim() < 2 || table.dim() > 3 || table.scalar_type() != at::kFloat))
      fail(ErrorCode::kCorruptData, "datasets",
           dir + "/" + kTablesFile +
               ": expected float32 [N, D] or [N, T, C], or uint8 [N, H, W, 3] for stream " +
               stream + ", got " + describe(table));
    table = table.clone();
  }
  return tables;
}

Sample to_sample(const ManifestItem& item, const std::string& dir, const TensorMap& tables,
                 const std::vector<std::string>& streams) {
  Sample sample;
  sample.id = item.id;
  sample.group = item.group;
  sample.labels = item.labels;
  for (const std::string& stream : streams) {
    if (auto text = item.texts.find(stream); text != item.texts.end()) {
      sample.streams[stream] = text->second;
    } else if (auto file = item.files.find(stream); file != item.files.end()) {
      sample.streams[stream] = Path{dir + "/" + file->second};
    } else if (auto table = tables.find(stream); table != tables.end() && item.row >= 0) {
      if (item.row >= table->second.size(0))
        fail(ErrorCode::kCorruptData, "datasets",
             dir + "/" + kTablesFile + ": expected row " + std::to_string(item.row) +
                 " of stream " + stream + ", got " + describe(table->second));
      sample.streams[stream] = table->second.select(0, item.row);
    }
  }
  return sample;
}

}  // namespace

const std::vector<DatasetInfo>& list_datasets() {
  static const std::vector<DatasetInfo> kInfos = [] {
    std::vector<DatasetInfo> infos;
    for (const DatasetAdapter& one : adapters()) infos.push_back(one.info);
    return infos;
  }();
  return kInfos;
}

const DatasetInfo& dataset_info(const std::string& name) { return adapter(name).info; }

bool is_prepared(const std::string& name) {
  return has_manifest(cache_dir() + "/" + key_of(adapter(name)));
}

DatasetSplits load_dataset(const std::string& name, const DatasetOptions& options,
                           const Progress& progress) {
  const DatasetAdapter& one = adapter(name);
  std::vector<std::string> streams = chosen_streams(one.info, options);
  std::string dir = cached_folder(
      key_of(one), has_manifest,
      [&](const std::string& scratch) {
        std::vector<ManifestItem> made = one.prepare(one.info, scratch, progress);
        if (made.empty())
          fail(ErrorCode::kCorruptData, "datasets",
               "expected items in the packages of " + name + ", got none");
        write_manifest(scratch, made);
      },
      progress);
  std::vector<ManifestItem> items = read_manifest(dir);
  std::vector<int> splits = assign_splits(items, one.info.label, options.seed,
                                          options.validation.value_or(one.info.validation),
                                          options.test.value_or(one.info.test));
  TensorMap tables = read_tables(items, dir);
  DatasetSplits result{.info = one.info, .dir = dir};
  std::set<std::string> classes;
  for (size_t i = 0; i < items.size(); ++i) {
    Sample sample = to_sample(items[i], dir, tables, streams);
    if (auto label = items[i].labels.find(one.info.label); label != items[i].labels.end()) {
      classes.insert(label->second.as_string());
    }
    (splits[i] == 0   ? result.train
     : splits[i] == 1 ? result.validation
                      : result.test)
        .push_back(std::move(sample));
  }
  result.classes.assign(classes.begin(), classes.end());
  return result;
}

}  // namespace plait::data
