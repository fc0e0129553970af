#include "plait/data/datasets/manifest.h"

#include <algorithm>
#include <sstream>

#include "plait/core/error.h"
#include "plait/core/file.h"
#include "plait/data/hash.h"

namespace plait::data {
namespace {

constexpr const char* kFile = "/manifest.jsonl";

Json to_json(const std::map<std::string, std::string>& map) {
  Json json{Json::Object{}};
  for (const auto& [key, value] : map) json[key] = value;
  return json;
}

std::map<std::string, std::string> to_map(const Json& json) {
  std::map<std::string, std::string> map;
  for (const auto& [key, value] : json.members()) map[key] = value.as_string();
  return map;
}

bool stays_inside(const std::string& path) {
  if (path.empty() || path[0] == '/') return false;
  std::stringstream parts(path);
  for (std::string part; std::getline(parts, part, '/');) {
    if (part == "..") return false;
  }
  return true;
}

ManifestItem parse_item(const std::string& line, const std::string& where) {
  Json json = Json::parse(line, where);
  ManifestItem item{.id = json.at("id").as_string(),
                    .group = json.at("group").as_string(),
                    .texts = to_map(json.at("texts")),
                    .files = to_map(json.at("files"))};
  item.row = json.get("row", int64_t{-1});
  for (const auto& [key, value] : json.at("labels").members()) item.labels[key] = value;
  for (const auto& [stream, path] : item.files) {
    if (!stays_inside(path)) {
      fail(ErrorCode::kCorruptData, "manifest",
           "expected paths inside the folder, got another in " + where + ", " + stream);
    }
  }
  return item;
}

}  // namespace

void write_manifest(const std::string& dir, const std::vector<ManifestItem>& items) {
  std::string text;
  for (const ManifestItem& item : items) {
    Json labels{Json::Object{}};
    for (const auto& [key, value] : item.labels) labels[key] = value;
    Json line = Json::object({{"id", item.id},
                              {"group", item.group},
                              {"texts", to_json(item.texts)},
                              {"files", to_json(item.files)},
                              {"labels", labels}});
    if (item.row >= 0) line["row"] = item.row;
    text += line.dump() + "\n";
  }
  write_file_atomic(dir + kFile, text);
}

std::vector<ManifestItem> read_manifest(const std::string& dir) {
  std::istringstream text(read_file(dir + kFile, size_t{1} << 30));
  std::vector<ManifestItem> items;
  size_t number = 0;
  for (std::string line; std::getline(text, line);) {
    std::string where = dir + kFile + ":" + std::to_string(++number);
    try {
      items.push_back(parse_item(line, where));
    } catch (const Error& error) {
      std::string why = error.what();
      fail(ErrorCode::kCorruptData, "manifest",
           (why.find(where) == std::string::npos ? where + ": " : "") + why);
    }
  }
  if (items.empty())
    fail(ErrorCode::kCorruptData, "manifest", "expected items in " + dir + kFile + ", got none");
  return items;
}

std::string caption_group(const std::string& caption) {
  std::string clean;
  for (char c : caption) {
    bool letter =
        static_cast<unsigned char>(c) >= 128 || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    clean += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : letter ? c : ' ';
  }
  std::stringstream words(clean);
  std::string group;
  for (std::string word; words >> word;) {
    if (word == "a" || word == "an" || word == "the") continue;
    group += (group.empty() ? "" : " ") + word;
  }
  return group.empty() ? caption : group;
}

std::vector<int> assign_splits(const std::vector<ManifestItem>& items, const std::string& label,
                               int64_t seed, double validation, double test) {
  require(validation >= 0 && test >= 0 && validation + test < 1, "splits",
          "expected shares that leave items to train on");
  struct Group {
    std::string order;
    std::vector<size_t> members;
  };
  std::map<std::string, Group> groups;
  std::map<std::string, std::vector<Group*>> classes;
  for (size_t i = 0; i < items.size(); ++i) {
    auto [it, added] = groups.try_emplace(items[i].group);
    it->second.members.push_back(i);
    if (!added) continue;
    it->second.order = sha256(std::to_string(seed) + ":" + items[i].group);
    auto found = items[i].labels.find(label);
    classes[found == items[i].labels.end() ? "" : found->second.dump()].push_back(&it->second);
  }
  std::vector<int> splits(items.size(), 0);
  for (auto& [name, list] : classes) {
    std::sort(list.begin(), list.end(),
              [](const Group* a, const Group* b) { return a->order < b->order; });
    size_t total = 0, seen = 0;
    for (const Group* group : list) total += group->members.size();
    for (const Group* group : list) {
      double at = static_cast<double>(seen) / static_cast<double>(total);
      int split = at < test ? 2 : at < test + validation ? 1 : 0;
      for (size_t member : group->members) splits[member] = split;
      seen += group->members.size();
    }
  }
  return splits;
}

}  // namespace plait::data
