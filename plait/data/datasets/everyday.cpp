// Emoji and clip art with their names, written and spoken: what the shipped model is trained on.
#include <algorithm>
#include <filesystem>

#include "plait/core/error.h"
#include "plait/data/datasets/prepare.h"
#include "plait/data/datasets/speech.h"

namespace plait::data {
namespace {

constexpr size_t kLongestSpoken = 60;  ///< Bytes; longer names are only written

/// Adds an item whose picture is a file of another data set, linked below `dir`.
ManifestItem make_item(const std::string& id, const std::string& group, const Value& picture,
                       const std::string& text, const std::string& dir) {
  ManifestItem item;
  item.id = id;
  item.group = group;
  item.texts["text"] = text;
  std::string to =
      "images/" + std::filesystem::path(group).filename().string() + "-" +
      std::to_string(std::hash<std::string>{}(std::get<Path>(picture).path) % 1000000007u) + ".png";
  if (!std::filesystem::exists(dir + "/" + to))
    link_or_copy(std::get<Path>(picture).path, dir + "/" + to);
  item.files["image"] = to;
  return item;
}

std::vector<Sample> all_samples(const std::string& name, const std::vector<std::string>& streams,
                                const Progress& progress) {
  DatasetSplits splits = load_dataset(name, {.streams = streams}, progress);
  std::vector<Sample> out = std::move(splits.train);
  for (auto* part : {&splits.validation, &splits.test}) {
    for (Sample& sample : *part) out.push_back(std::move(sample));
  }
  std::sort(out.begin(), out.end(), [](const Sample& a, const Sample& b) { return a.id < b.id; });
  return out;
}

std::vector<ManifestItem> prepare(const DatasetInfo&, const std::string& dir,
                                  const Progress& progress) {
  std::filesystem::create_directories(dir + "/images");
  std::filesystem::create_directories(dir + "/speech");
  std::vector<ManifestItem> items;
  std::vector<Utterance> utterances;
  std::vector<size_t> speakers;  // the item of each utterance
  auto speak = [&](const std::string& text, const char* voice, int number) {
    if (text.size() > kLongestSpoken) return;
    utterances.push_back({.id = std::to_string(items.size()),
                          .text = text,
                          .voice = voice,
                          .speed = 140 + number % 5 * 10,
                          .pitch = 35 + number % 7 * 5});
    speakers.push_back(items.size() - 1);
  };
  int number = 0;
  for (const Sample& s :
       all_samples("emoji", {"image", "text", "text_zh", "keywords", "keywords_zh"}, progress)) {
    for (const char* stream : {"text", "text_zh", "keywords", "keywords_zh"}) {
      auto text = s.streams.find(stream);
      if (text == s.streams.end() || std::get<std::string>(text->second).empty()) continue;
      items.push_back(make_item(s.id + "/" + stream, "emoji-" + s.id, s.streams.at("image"),
                                std::get<std::string>(text->second), dir));
      items.back().labels["category"] = s.labels.at("group");
      if (stream == std::string("text"))
        speak(items.back().texts["text"], number % 2 ? "en-gb+f3" : "en-us", number);
      if (stream == std::string("text_zh"))
        speak(items.back().texts["text"], number % 2 ? "cmn+f2" : "cmn", number);
    }
    ++number;
  }
  for (const Sample& s : all_samples("openclipart", {"image", "text"}, progress)) {
    std::string id = std::filesystem::path(s.id).filename().string();
    items.push_back(make_item("clipart/" + s.id, "clipart-" + id, s.streams.at("image"),
                              std::get<std::string>(s.streams.at("text")), dir));
    speak(items.back().texts["text"], number % 2 ? "en-us+f4" : "en-gb", number);
    ++number;
  }
  std::vector<std::string> spoken = synthesize_speech(utterances, progress);
  for (size_t i = 0; i < spoken.size(); ++i) {
    std::string to = "speech/" + std::to_string(speakers[i]) + ".wav";
    link_or_copy(spoken[i], dir + "/" + to);
    items[speakers[i]].files["audio"] = to;
  }
  return items;
}

}  // namespace

DatasetAdapter everyday_dataset() {
  const DatasetInfo emoji = emoji_dataset().info;
  const DatasetInfo clipart = openclipart_dataset().info;
  DatasetInfo info;
  info.name = "everyday";
  info.description =
      "Emoji and clip art with their names in English and Chinese, written and spoken (the speech "
      "is synthetic)";
  info.licence = emoji.licence + "; " + clipart.licence + "; synthetic speech";
  info.packages = emoji.packages;
  info.packages.insert(info.packages.end(), clipart.packages.begin(), clipart.packages.end());
  info.streams = {
      {"text", Modality::kText}, {"image", Modality::kImage}, {"audio", Modality::kAudio}};
  info.label = "category";
  info.tools = clipart.tools;
  info.tools.push_back("espeak-ng (espeak-ng)");
  return {.info = info, .revision = 1, .prepare = prepare};
}

}  // namespace plait::data
