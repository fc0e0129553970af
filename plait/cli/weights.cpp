#include <cstdio>
#include <map>

#include "plait/cli/commands.h"
#include "plait/cli/stages.h"
#include "plait/cli/terminal.h"
#include "plait/core/weights/weights_file.h"
#include "plait/models/convert/weights.h"

namespace plait::cli {
namespace {

constexpr size_t kLongList = 8;
constexpr size_t kLongText = 100;  // bytes

/// A value with long lists and texts cut short: a vocabulary is no summary.
Json summary_of(const Json& value, int depth = 0) {
  if (value.is_string() && value.as_string().size() > kLongText) {
    std::string text = value.as_string().substr(0, kLongText);
    // Not inside a character.
    while (!text.empty() && (static_cast<unsigned char>(text.back()) & 0xC0) == 0x80)
      text.pop_back();
    if (!text.empty() && static_cast<unsigned char>(text.back()) >= 0xC0) text.pop_back();
    return text + "…";
  }
  if (value.is_array()) {
    if (value.size() > kLongList) return "[" + std::to_string(value.size()) + " values]";
    Json::Array items;
    for (const Json& item : value.items()) items.push_back(summary_of(item, depth + 1));
    return Json(std::move(items));
  }
  if (value.is_object()) {
    if (depth > 2) return "{" + std::to_string(value.size()) + " members}";
    Json::Object members;
    for (const auto& [key, item] : value.members())
      members.emplace_back(key, summary_of(item, depth + 1));
    return Json(std::move(members));
  }
  return value;
}

int64_t values_of(const WeightEntry& entry) {
  int64_t count = 1;
  for (int64_t extent : entry.shape) count *= extent;
  return count;
}

std::string storage_of(const WeightEntry& entry) {
  return entry.quantisation.empty() ? entry.dtype : entry.quantisation;
}

std::string shape_text(const WeightEntry& entry) { return Json(entry.shape).dump(); }

}  // namespace

int inspect(const std::string& path, bool json) {
  WeightsFile file = open_weights(path);
  int64_t values = 0, bytes = 0;
  std::map<std::string, std::array<int64_t, 3>> by_storage;  // tensors, values, bytes
  for (const WeightEntry& entry : file.tensors) {
    auto& sum = by_storage[storage_of(entry)];
    sum[0] += 1;
    sum[1] += values_of(entry);
    sum[2] += static_cast<int64_t>(entry.bytes);
    values += values_of(entry);
    bytes += static_cast<int64_t>(entry.bytes);
  }
  if (json) {
    Json tensors = Json::array(), storage = Json::object();
    for (const WeightEntry& e : file.tensors) {
      Json row =
          Json::object({{"name", e.name},
                        {"shape", Json(e.shape)},
                        {"dtype", e.dtype},
                        {"quantisation", e.quantisation.empty() ? Json() : Json(e.quantisation)},
                        {"bytes", e.bytes}});
      if (!e.note.empty()) row["note"] = e.note;
      tensors.push_back(std::move(row));
    }
    for (const auto& [name, sum] : by_storage)
      storage[name] = Json::object({{"tensors", sum[0]}, {"values", sum[1]}, {"bytes", sum[2]}});
    std::printf("%s\n", Json::object({{"path", path},
                                      {"format", file.format},
                                      {"tensors", tensors},
                                      {"totals", Json::object({{"tensors", file.tensors.size()},
                                                               {"values", values},
                                                               {"bytes", bytes},
                                                               {"by_storage", storage}})},
                                      {"metadata", summary_of(file.metadata)}})
                            .dump()
                            .c_str());
    return 0;
  }
  std::printf("%s: %s\n\n", path.c_str(), file.format.c_str());
  if (file.metadata.size() > 0) {
    std::vector<std::vector<std::string>> rows;
    const Json summary = summary_of(file.metadata);
    for (const auto& [key, value] : summary.members())
      rows.push_back({key, value.is_string() ? Json(value).dump() : value.dump()});
    print_table({"metadata", "value"}, rows);
    std::printf("\n");
  }
  std::vector<std::vector<std::string>> rows;
  for (const WeightEntry& e : file.tensors)
    rows.push_back({e.name, shape_text(e),
                    e.quantisation.empty() ? e.dtype : e.quantisation + " (" + e.dtype + ")",
                    std::to_string(e.bytes), e.note});
  print_table({"tensor", "shape", "stored as", "bytes", ""}, rows);
  std::printf("\n");
  rows.clear();
  for (const auto& [name, sum] : by_storage)
    rows.push_back({name, std::to_string(sum[0]), std::to_string(sum[1]), std::to_string(sum[2])});
  rows.push_back(
      {"all", std::to_string(file.tensors.size()), std::to_string(values), std::to_string(bytes)});
  print_table({"stored as", "tensors", "values", "bytes"}, rows);
  return 0;
}

int convert(const ConvertArgs& args) {
  Stages stages;
  Json done = models::convert_weights(args.source, args.destination, {.dtype = args.dtype},
                                      stages.fetch("Converting"));
  stages.finish();
  if (args.json) {
    std::printf("%s\n", done.dump().c_str());
    return 0;
  }
  std::string files;
  for (const std::string& name : done.at("files").as_strings())
    files += (files.empty() ? "" : ", ") + name;
  std::printf("%s: %lld tensors, %.1f MB (%s)\n", args.destination.c_str(),
              static_cast<long long>(done.at("tensors").as_int()),
              done.at("bytes").as_double() / 1e6, files.c_str());
  for (const std::string& name : done.at("left_out").as_strings())
    std::printf("left out: %s\n", name.c_str());
  return 0;
}

}  // namespace plait::cli
