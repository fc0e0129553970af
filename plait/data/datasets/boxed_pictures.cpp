#include "plait/data/datasets/boxed_pictures.h"

#include <cmath>
#include <filesystem>
#include <map>

#include "plait/core/error.h"
#include "plait/core/json.h"

namespace plait::data {
namespace {

constexpr int64_t kMostPixels = 10'000'000;  ///< Of a side

[[noreturn]] void wrong(const std::string& source, const std::string& what) {
  fail(ErrorCode::kCorruptData, "coco", source + ": " + what);
}

/// The list of that name.
const Json::Array& list_of(const Json& all, const char* key, const std::string& source) {
  const Json* found = all.find(key);
  if (!found || !found->is_array()) wrong(source, std::string("expected a list \"") + key + "\"");
  return found->items();
}

int64_t id_of(const Json& entry, const char* key, const std::string& where) {
  const Json* id = entry.find(key);
  if (!id || !id->is_int()) wrong(where, std::string("expected a number as \"") + key + "\"");
  return id->as_int();
}

/// 0 where it is not said.
int64_t extent_of(const Json& entry, const char* key, const std::string& where) {
  const Json* value = entry.find(key);
  if (!value) return 0;
  if (!value->is_int() || value->as_int() < 1 || value->as_int() > kMostPixels)
    wrong(where, std::string("expected a number of pixels as \"") + key + "\"");
  return value->as_int();
}

std::string file_of(const Json& entry, const std::string& folder, const std::string& where) {
  const Json* name = entry.find("file_name");
  if (!name || !name->is_string()) wrong(where, "expected a text as \"file_name\"");
  const std::filesystem::path file = std::filesystem::path(name->as_string()).lexically_normal();
  if (file.empty() || file.is_absolute() || *file.begin() == ".." ||
      name->as_string().find('\0') != std::string::npos)
    wrong(where, "expected a file_name inside of the folder");
  return (std::filesystem::path(folder) / file).string();
}

}  // namespace

BoxedPictures read_coco(const std::string& annotations, const std::string& folder) {
  return parse_coco(Json::read(annotations, size_t{2} << 30), annotations, folder);
}

BoxedPictures parse_coco(const Json& all, const std::string& annotations,
                         const std::string& folder) {
  BoxedPictures out;
  std::map<int64_t, int64_t> classes;
  std::map<int64_t, size_t> pictures;
  auto name = [&](const char* list, size_t i) {
    return annotations + ": " + list + "[" + std::to_string(i) + "]";
  };
  size_t i = 0;
  for (const Json& category : list_of(all, "categories", annotations)) {
    const std::string where = name("categories", i++);
    const Json* text = category.find("name");
    if (!text || !text->is_string()) wrong(where, "expected a text as \"name\"");
    if (!classes.emplace(id_of(category, "id", where), out.classes.size()).second)
      wrong(where, "expected an id of its own");
    out.classes.push_back(text->as_string());
  }
  i = 0;
  for (const Json& image : list_of(all, "images", annotations)) {
    const std::string where = name("images", i++);
    if (!pictures.emplace(id_of(image, "id", where), out.pictures.size()).second)
      wrong(where, "expected an id of its own");
    out.pictures.push_back({file_of(image, folder, where),
                            {},
                            {},
                            extent_of(image, "width", where),
                            extent_of(image, "height", where)});
  }
  i = 0;
  for (const Json& one : list_of(all, "annotations", annotations)) {
    const std::string where = name("annotations", i++);
    auto picture = pictures.find(id_of(one, "image_id", where));
    auto kind = classes.find(id_of(one, "category_id", where));
    if (picture == pictures.end()) wrong(where, "expected the image_id of one of the images");
    if (kind == classes.end()) wrong(where, "expected the category_id of one of the categories");
    const Json* crowd = one.find("iscrowd");
    if (crowd && crowd->is_int() && crowd->as_int() != 0) continue;
    const Json* box = one.find("bbox");
    if (!box || !box->is_array() || box->size() != 4)
      wrong(where, "expected four numbers as \"bbox\"");
    std::array<double, 4> side{};
    for (size_t k = 0; k < 4; ++k) {
      if (!box->at(k).is_number()) wrong(where, "expected four numbers as \"bbox\"");
      side[k] = box->at(k).as_double();
      if (!(std::abs(side[k]) < kMostPixels))
        wrong(where, "expected a bbox of fewer than 10^7 pixels");
    }
    if (side[2] <= 0 || side[3] <= 0) continue;
    BoxedPicture& here = out.pictures[picture->second];
    here.boxes.push_back({static_cast<float>(side[0]), static_cast<float>(side[1]),
                          static_cast<float>(side[0] + side[2]),
                          static_cast<float>(side[1] + side[3])});
    here.classes.push_back(kind->second);
  }
  return out;
}

}  // namespace plait::data
