#include <cstdlib>

#include "fuzz/target.h"
#include "plait/data/datasets/boxed_pictures.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return plait::fuzz::guarded([&] {
    const auto all = plait::Json::parse(plait::fuzz::text(data, size), "input");
    const auto found = plait::data::parse_coco(all, "input", "folder");
    for (const auto& picture : found.pictures) {
      if (picture.file.rfind("folder/", 0) != 0 || picture.boxes.size() != picture.classes.size())
        std::abort();
      for (int64_t kind : picture.classes)
        if (kind < 0 || kind >= static_cast<int64_t>(found.classes.size())) std::abort();
    }
  });
}
