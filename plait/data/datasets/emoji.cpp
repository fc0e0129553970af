// Emoji pictures with their English and Chinese names and keywords.
#include <algorithm>
#include <filesystem>
#include <map>
#include <sstream>

#include "plait/core/error.h"
#include "plait/core/file.h"
#include "plait/data/datasets/emoji_font.h"
#include "plait/data/datasets/prepare.h"
#include "plait/data/datasets/xml.h"

namespace plait::data {
namespace {

constexpr const char* kFont = "usr/share/fonts/truetype/noto/NotoColorEmoji.ttf";
constexpr const char* kCldr = "usr/share/unicode/cldr/common/";
constexpr const char* kTest = "usr/share/unicode/emoji/emoji-test.txt";

struct Annotation {
  std::string name;
  std::string keywords;  ///< "face, grin, grinning face"
};
using Annotations = std::map<std::string, Annotation>;

std::string trim(const std::string& text) {
  size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

/// "face | grin" → "face, grin"
std::string comma_list(const std::string& bars) {
  std::stringstream parts(bars);
  std::string list;
  for (std::string part; std::getline(parts, part, '|');)
    list += (list.empty() ? "" : ", ") + trim(part);
  return list;
}

void read_annotations(const std::string& path, Annotations& into) {
  std::string sequence, text;
  bool name = false, inside = false;
  XmlEvents events;
  events.start = [&](const std::string& element,
                     const std::map<std::string, std::string>& attributes) {
    inside = element == "annotation";
    if (!inside) return;
    text.clear();
    auto cp = attributes.find("cp");
    sequence = cp == attributes.end() ? "" : cp->second;
    name = attributes.count("type") > 0 && attributes.at("type") == "tts";
  };
  events.text = [&](const std::string& piece) {
    if (inside) text += piece;
  };
  events.end = [&](const std::string& element) {
    if (element != "annotation" || sequence.empty()) return;
    (name ? into[sequence].name : into[sequence].keywords) = name ? trim(text) : comma_list(text);
    inside = false;
  };
  parse_xml(read_file(path, size_t{64} << 20), path, events);
}

Annotations annotations(const std::string& cldr, const std::string& language) {
  Annotations all;
  for (const char* folder : {"annotations/", "annotationsDerived/"}) {
    read_annotations(cldr + "/" + kCldr + folder + language + ".xml", all);
  }
  return all;
}

void append_utf8(std::string& text, uint32_t code) {
  if (code < 0x80) {
    text += static_cast<char>(code);
    return;
  }
  int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
  text += static_cast<char>((0xFF00 >> (more + 1) & 0xFF) | code >> 6 * more);
  while (more-- > 0) text += static_cast<char>(0x80 | (code >> 6 * more & 0x3F));
}

struct Emoji {
  std::string id;        ///< "1f468-200d-1f373": code points without the variation selector.
  std::string sequence;  ///< As displayed.
  std::string plain;     ///< Without the variation selector, as CLDR names it.
  std::string group;     ///< "Food & Drink"
  std::string subgroup;  ///< "food-fruit"
};

/// The fully qualified emoji of emoji-test.txt but for those with a skin tone.
std::vector<Emoji> read_list(const std::string& path) {
  std::istringstream text(read_file(path, size_t{16} << 20));
  std::vector<Emoji> list;
  std::string group, subgroup;
  for (std::string line; std::getline(text, line);) {
    if (line.starts_with("# group: ")) group = trim(line.substr(9));
    if (line.starts_with("# subgroup: ")) subgroup = trim(line.substr(12));
    size_t semicolon = line.find(';');
    if (line.starts_with("#") || semicolon == std::string::npos) continue;
    if (trim(line.substr(semicolon + 1)).rfind("fully-qualified", 0) != 0) continue;
    Emoji emoji{.id = "", .sequence = "", .plain = "", .group = group, .subgroup = subgroup};
    std::istringstream codes(line.substr(0, semicolon));
    bool toned = false;
    for (std::string hex; codes >> hex;) {
      if (hex.size() > 6 || hex.find_first_not_of("0123456789ABCDEFabcdef") != std::string::npos) {
        fail(ErrorCode::kCorruptData, "emoji",
             "expected code points in " + path + ", got \"" + hex.substr(0, 20) + "\"");
      }
      auto code = static_cast<uint32_t>(std::stoul(hex, nullptr, 16));
      toned = toned || (code >= 0x1F3FB && code <= 0x1F3FF);
      append_utf8(emoji.sequence, code);
      if (code == 0xFE0F) continue;
      append_utf8(emoji.plain, code);
      std::transform(hex.begin(), hex.end(), hex.begin(),
                     [](char c) { return c >= 'A' && c <= 'F' ? char(c + 32) : c; });
      emoji.id += (emoji.id.empty() ? "" : "-") + hex;
    }
    if (!toned) list.push_back(std::move(emoji));
  }
  return list;
}

std::vector<ManifestItem> prepare(const DatasetInfo& info, const std::string& dir,
                                  const Progress& progress) {
  std::vector<std::string> folders;
  for (const Package& package : info.packages) folders.push_back(fetch(package, progress));
  EmojiFont font(folders[0] + "/" + kFont);
  Annotations english = annotations(folders[1], "en");
  Annotations chinese = annotations(folders[1], "zh");
  std::vector<Emoji> list = read_list(folders[2] + "/" + kTest);
  std::filesystem::create_directories(dir + "/images");
  std::vector<ManifestItem> items;
  for (const Emoji& emoji : list) {
    auto en = english.find(emoji.plain);
    auto zh = chinese.find(emoji.plain);
    if (en == english.end() || zh == chinese.end() || en->second.name.empty() ||
        zh->second.name.empty())
      continue;
    std::string png = font.png(emoji.sequence);
    if (png.empty()) continue;
    ManifestItem item{.id = emoji.id, .group = emoji.id};
    item.files["image"] = "images/" + emoji.id + ".png";
    write_file_atomic(dir + "/" + item.files["image"], png);
    item.texts = {{"text", en->second.name},
                  {"text_zh", zh->second.name},
                  {"keywords", en->second.keywords},
                  {"keywords_zh", zh->second.keywords}};
    std::erase_if(item.texts, [](const auto& text) { return text.second.empty(); });
    item.labels = {{"group", emoji.group}, {"subgroup", emoji.subgroup}, {"emoji", emoji.sequence}};
    items.push_back(std::move(item));
    if (progress && items.size() % 100 == 0) {
      progress({.step = "extract",
                .what = info.name,
                .done = static_cast<int64_t>(items.size()),
                .total = static_cast<int64_t>(list.size()),
                .unit = "pictures"});
    }
  }
  return items;
}

}  // namespace

DatasetAdapter emoji_dataset() {
  DatasetAdapter adapter;
  adapter.info = {
      .name = "emoji",
      .description =
          "Emoji pictures with their English and Chinese names, without skin-tone variants",
      .licence = "pictures SIL-1.1 (OFL) and Apache-2.0; names Unicode-DFS-2016",
      .packages = {{.ecosystem = "debian",
                    .name = "fonts-noto-color-emoji",
                    .version = "2.042-0+deb12u1",
                    .sha256 = "a5ab0f69c7938423862320d9aca5dd187b3fd879d6a9a57dd52e17c3fa8d2751",
                    .licence = "SIL-1.1 (fonts), Apache-2.0 (the rest)",
                    .bytes = 9893872,
                    .only = {kFont}},
                   {.ecosystem = "debian",
                    .name = "unicode-cldr-core",
                    .version = "41-0.1",
                    .sha256 = "35d30d5d3bee4d8244e95236259c4c2a0db06e21bad696515751fcfeee4d0260",
                    .licence = "Unicode-DFS-2016",
                    .bytes = 16938208,
                    .only = {std::string(kCldr) + "annotations",
                             std::string(kCldr) + "annotationsDerived"}},
                   {.ecosystem = "debian",
                    .name = "unicode-data",
                    .version = "15.0.0-1",
                    .sha256 = "5efef23bbb1c6a133ecbdd63a2cfa07159ccacf5466a49e2426101c5ecd691fc",
                    .licence = "Unicode, Inc. License Agreement - Data Files and Software",
                    .bytes = 7983784,
                    .only = {kTest}}},
      .streams = {{"image", Modality::kImage},
                  {"text", Modality::kText},
                  {"text_zh", Modality::kText}},
      .more_streams = {{"keywords", Modality::kText}, {"keywords_zh", Modality::kText}},
      .label = "group",
      .tools = {}};
  adapter.prepare = prepare;
  return adapter;
}

}  // namespace plait::data
