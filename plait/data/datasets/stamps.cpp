// Tux Paint's stamps: pictures with a caption in many languages and the same caption spoken.
#include <algorithm>
#include <filesystem>
#include <map>
#include <sstream>

#include "plait/core/error.h"
#include "plait/core/file.h"
#include "plait/data/datasets/prepare.h"

namespace plait::data {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRoot = "usr/share/tuxpaint/stamps";
constexpr size_t kLeastSpoken = 27;  ///< A folder with fewer spoken items is no class.

const std::map<std::string, std::string>& speech_streams() {
  static const std::map<std::string, std::string> kStreams{{"speech", "fr"},
                                                           {"speech_es", "es"},
                                                           {"speech_ru", "ru"},
                                                           {"speech_ca", "ca"},
                                                           {"speech_ro", "ro"}};
  return kStreams;
}

const std::map<std::string, std::string>& text_streams() {
  static const std::map<std::string, std::string> kStreams{
      {"text_fr", "fr"}, {"text_es", "es"}, {"text_ru", "ru"}, {"text_zh", "zh_CN"}};
  return kStreams;
}

/// First line: English; then "fr.utf8=Un kangourou roux." and so on.
std::map<std::string, std::string> read_captions(const std::string& path) {
  std::istringstream text(read_file(path, 1 << 20));
  std::map<std::string, std::string> captions;
  for (std::string line; std::getline(text, line);) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    if (captions.count("en") == 0) {
      captions["en"] = line;
    } else if (size_t mark = line.find(".utf8="); mark != std::string::npos) {
      captions.try_emplace(line.substr(0, mark), line.substr(mark + 6));
    }
  }
  return captions;
}

struct Stamp {
  std::string base;      ///< Path without extension, below the root.
  std::string category;  ///< Its top folder.
  bool svg = false;      ///< Has no PNG.
};

/// Stamps with a picture, a caption and French speech, sorted by path.
std::vector<Stamp> spoken_stamps(const fs::path& root) {
  std::vector<Stamp> stamps;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (entry.path().extension() != ".txt") continue;
    fs::path whole = entry.path();
    std::string path = whole.replace_extension().string();
    bool png = fs::exists(path + ".png");
    if (!fs::exists(path + "_desc_fr.ogg") || (!png && !fs::exists(path + ".svg"))) continue;
    std::string base = fs::relative(path, root).string();
    stamps.push_back({.base = base, .category = base.substr(0, base.find('/')), .svg = !png});
  }
  std::map<std::string, size_t> counts;
  for (const Stamp& stamp : stamps) ++counts[stamp.category];
  std::erase_if(stamps, [&](const Stamp& stamp) {
    return stamp.category == "symbols" || counts[stamp.category] < kLeastSpoken;
  });
  std::sort(stamps.begin(), stamps.end(),
            [](const Stamp& a, const Stamp& b) { return a.base < b.base; });
  return stamps;
}

std::vector<ManifestItem> prepare(const DatasetInfo& info, const std::string& dir,
                                  const Progress& progress) {
  fs::path root = fs::path(fetch(info.packages[0], progress)) / kRoot;
  std::vector<Stamp> stamps = spoken_stamps(root);
  std::vector<ManifestItem> items;
  std::vector<SvgJob> drawings;
  for (const Stamp& stamp : stamps) {
    std::string from = (root / stamp.base).string();
    std::string to = dir + "/" + stamp.base;
    fs::create_directories(fs::path(to).parent_path());
    std::map<std::string, std::string> captions = read_captions(from + ".txt");
    if (captions["en"].empty()) continue;
    ManifestItem item{.id = stamp.base, .group = caption_group(captions["en"])};
    item.texts["text"] = captions["en"];
    for (const auto& [stream, language] : text_streams()) {
      if (!captions[language].empty()) item.texts[stream] = captions[language];
    }
    item.files["image"] = stamp.base + ".png";
    if (stamp.svg) {
      drawings.push_back({.svg = from + ".svg", .png = to + ".png"});
    } else {
      link_or_copy(from + ".png", to + ".png");
    }
    for (const auto& [stream, language] : speech_streams()) {
      std::string ending = "_desc_" + language + ".ogg";
      if (!fs::exists(from + ending)) continue;
      link_or_copy(from + ending, to + ending);
      item.files[stream] = stamp.base + ending;
    }
    item.labels["category"] = stamp.category;
    items.push_back(std::move(item));
  }
  std::vector<bool> rendered = render_svgs(drawings, info.name, progress);
  for (size_t i = 0; i < rendered.size(); ++i) {
    if (!rendered[i]) {
      fail(ErrorCode::kCorruptData, "datasets",
           "expected rsvg-convert to render " + drawings[i].svg + ", got no picture");
    }
  }
  return items;
}

}  // namespace

DatasetAdapter stamps_dataset() {
  DatasetAdapter adapter;
  adapter.info = {
      .name = "stamps",
      .description =
          "Pictures in nine categories with their English caption and the same caption spoken in "
          "French",
      .licence = "GPL-2",
      .packages = {{.ecosystem = "debian",
                    .name = "tuxpaint-stamps-default",
                    .version = "2022.06.04-1",
                    .sha256 = "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
                    .licence = "GPL-2",
                    .bytes = 160880444,
                    .only = {kRoot}}},
      .streams = {{"text", Modality::kText},
                  {"image", Modality::kImage},
                  {"speech", Modality::kAudio}},
      .more_streams = {},
      .label = "category",
      .tools = {"rsvg-convert (librsvg2-bin)"}};
  for (const auto& [stream, language] : text_streams())
    adapter.info.more_streams.emplace_back(stream, Modality::kText);
  for (const auto& [stream, language] : speech_streams()) {
    if (stream != "speech") adapter.info.more_streams.emplace_back(stream, Modality::kAudio);
  }
  adapter.prepare = prepare;
  return adapter;
}

}  // namespace plait::data
