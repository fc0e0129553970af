#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "plait/core/json.h"

namespace plait::data {

/// A picture's file and the objects in it.
struct BoxedPicture {
  std::string file;
  std::vector<std::array<float, 4>> boxes;  ///< Left, top, right, bottom in pixels
  std::vector<int64_t> classes;             ///< Index into BoxedPictures::classes
  int64_t width = 0, height = 0;            ///< What the boxes refer to; 0: not said
};

/// Pictures with boxes and the names of what the boxes hold.
struct BoxedPictures {
  std::vector<std::string> classes;
  std::vector<BoxedPicture> pictures;  ///< In the file's order, those without objects too
};

/// Reads annotations as COCO has them: images (id, file_name, width and height or neither),
/// categories (id, name) and annotations (image_id, category_id, bbox [left, top, width, height]).
/// Boxes of crowds and those without area are left out. `folder` holds the pictures; they are not
/// opened.
/// @throws Error kNotFound, kIo; kCorruptData naming the entry that is missing or wrong, ids that
/// occur twice or are not there, a file name that leads out of the folder.
BoxedPictures read_coco(const std::string& annotations, const std::string& folder);

/// The same of what such a file holds; `source` names it in errors.
BoxedPictures parse_coco(const Json& annotations, const std::string& source,
                         const std::string& folder);

}  // namespace plait::data
