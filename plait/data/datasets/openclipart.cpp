// Open Clip Art Library: drawings with titles and keywords, rendered to PNG.
#include <algorithm>
#include <filesystem>
#include <map>

#include "plait/core/error.h"
#include "plait/core/file.h"
#include "plait/core/log.h"
#include "plait/data/datasets/prepare.h"
#include "plait/data/datasets/xml.h"

namespace plait::data {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRoot = "usr/share/openclipart/svg";
constexpr int kSize = 128;
constexpr uintmax_t kMaxSvgBytes = 1'500'000;
/// A title that more drawings than this have names their series, not what is in them.
constexpr int kMaxSameTitle = 8;

/// Folders of generated stars, tool icons, playing cards, textures and copies.
bool is_left_out(const std::string& path) {
  for (const char* folder : {"shapes/stars/", "computer/icons/", "recreation/games/cards/",
                             "special/", "unsorted/duplicates/"}) {
    if (path.starts_with(folder)) return true;
  }
  return false;
}

std::string squeeze(const std::string& text) {
  std::string out;
  for (char c : text) {
    bool blank = static_cast<unsigned char>(c) <= ' ' || c == '_';
    if (!blank) out += c;
    if (blank && !out.empty() && out.back() != ' ') out += ' ';
  }
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

struct Drawing {
  std::string path;  ///< Below the root.
  std::string title;
  std::vector<std::string> keywords;
};

/// dc:title and the rdf:li of dc:subject in the drawing's cc:Work (agents have titles too).
Drawing read_metadata(const fs::path& root, const std::string& path) {
  Drawing drawing{.path = path, .title = "", .keywords = {}};
  std::vector<std::string> stack;
  std::string text;
  auto local = [](const std::string& name) { return name.substr(name.find(':') + 1); };
  auto inside = [&](size_t up, const char* name) {
    return stack.size() >= up && stack[stack.size() - up] == name;
  };
  XmlEvents events;
  events.start = [&](const std::string& name, const auto&) {
    stack.push_back(local(name));
    text.clear();
  };
  events.text = [&](const std::string& piece) {
    if (text.size() < 1000) text += piece;
  };
  events.end = [&](const std::string&) {
    if (inside(1, "title") && inside(2, "Work")) drawing.title = squeeze(text);
    if (inside(1, "li") && inside(3, "subject")) drawing.keywords.push_back(squeeze(text));
    stack.pop_back();
    text.clear();
  };
  parse_xml(read_file((root / path).string(), kMaxSvgBytes), path, events);
  return drawing;
}

/// "hats/blue_fedora_02.svg" → "blue fedora"
std::string title_from_name(const std::string& path) {
  std::string name = squeeze(fs::path(path).stem().string());
  while (!name.empty() &&
         (name.back() == ' ' || name.back() == '.' || (name.back() >= '0' && name.back() <= '9')))
    name.pop_back();
  return name;
}

bool is_word(const std::string& keyword) {
  if (keyword.size() < 2 || keyword == "hash" || keyword == "unsorted") return false;
  return std::none_of(keyword.begin(), keyword.end(),
                      [](char c) { return (c >= '0' && c <= '9') || c == '@' || c == ','; });
}

std::vector<Drawing> read_drawings(const fs::path& root, const std::string& what,
                                   const Progress& progress) {
  std::vector<std::string> paths;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (entry.path().extension() != ".svg" || entry.file_size() > kMaxSvgBytes) continue;
    std::string path = fs::relative(entry.path(), root).string();
    if (!is_left_out(path)) paths.push_back(path);
  }
  std::sort(paths.begin(), paths.end());
  std::vector<Drawing> drawings;
  std::map<std::string, int> uses;
  for (const std::string& path : paths) {
    try {
      drawings.push_back(read_metadata(root, path));
      ++uses[caption_group(drawings.back().title)];
    } catch (const Error& error) {
      log_debug("datasets", std::string("left out: ") + error.what());
    }
    if (progress && drawings.size() % 100 == 0) {
      progress({.step = "read",
                .what = what,
                .done = static_cast<int64_t>(drawings.size()),
                .total = static_cast<int64_t>(paths.size()),
                .unit = "drawings"});
    }
  }
  for (Drawing& drawing : drawings) {
    bool series = uses[caption_group(drawing.title)] > kMaxSameTitle ||
                  drawing.title.starts_with("Clipart by");
    if (drawing.title.size() < 2 || series) drawing.title = title_from_name(drawing.path);
    std::erase_if(drawing.keywords, [](const std::string& keyword) { return !is_word(keyword); });
  }
  std::erase_if(drawings, [](const Drawing& drawing) { return drawing.title.size() < 2; });
  return drawings;
}

std::vector<ManifestItem> prepare(const DatasetInfo& info, const std::string& dir,
                                  const Progress& progress) {
  fs::path root = fs::path(fetch(info.packages[0], progress)) / kRoot;
  std::vector<Drawing> drawings = read_drawings(root, info.name, progress);
  std::vector<SvgJob> jobs;
  std::vector<ManifestItem> items;
  for (const Drawing& drawing : drawings) {
    std::string id = drawing.path.substr(0, drawing.path.size() - 4);
    fs::create_directories(fs::path(dir + "/" + id).parent_path());
    jobs.push_back(
        {.svg = (root / drawing.path).string(), .png = dir + "/" + id + ".png", .size = kSize});
    ManifestItem item{.id = id, .group = caption_group(drawing.title)};
    item.texts["text"] = drawing.title;
    for (const std::string& keyword : drawing.keywords)
      item.texts["keywords"] += (item.texts["keywords"].empty() ? "" : ", ") + keyword;
    item.files["image"] = id + ".png";
    item.labels["folder"] = drawing.path.substr(0, drawing.path.find('/'));
    items.push_back(std::move(item));
  }
  std::vector<bool> rendered = render_svgs(jobs, info.name, progress);
  std::vector<ManifestItem> kept;
  for (size_t i = 0; i < items.size(); ++i) {
    if (rendered[i]) kept.push_back(std::move(items[i]));
  }
  return kept;
}

}  // namespace

DatasetAdapter openclipart_dataset() {
  DatasetAdapter adapter;
  adapter.info = {
      .name = "openclipart",
      .description =
          "Drawings with English titles, without generated stars, icons and playing cards; "
          "rendered at 128 pixels",
      .licence = "Public Domain Dedication (Creative Commons)",
      .packages = {{.ecosystem = "debian",
                    .name = "openclipart-svg",
                    .version = "1:0.18+dfsg-19",
                    .sha256 = "989712d90d57dfa3230049f553bb43b76c30ee4d4b8c5f6e106e33f7db5cbdc5",
                    .licence = "Public Domain Dedication (Creative Commons)",
                    .bytes = 24919068,
                    .only = {kRoot}}},
      .streams = {{"image", Modality::kImage}, {"text", Modality::kText}},
      .more_streams = {{"keywords", Modality::kText}},
      .label = "folder",
      .tools = {"rsvg-convert (librsvg2-bin)"}};
  adapter.prepare = prepare;
  return adapter;
}

}  // namespace plait::data
