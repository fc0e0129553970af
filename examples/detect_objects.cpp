// Says what is in a picture and where.
//
//   detect_objects PICTURE...
#include <iostream>

#include "plait/plait.h"

namespace {

// [snippet: detect]
void detect(const std::vector<std::string>& files) {
  auto objects = plait::api::ObjectDetector::from_pretrained();
  auto faces = plait::api::FaceDetector::from_pretrained();
  for (const std::string& file : files) {
    for (const plait::api::DetectedObject& object : objects->detect(plait::Path{file}))
      std::cout << object.label << " " << object.score << " at " << object.box[0] << ", "
                << object.box[1] << "\n";
    std::vector<plait::api::DetectedFace> found = faces->detect(plait::Path{file});
    std::cout << found.size() << " faces\n";
    if (found.size() > 1 && !found[0].embedding.empty() && !found[1].embedding.empty())
      std::cout << "the first two are alike by "
                << plait::api::face_similarity(found[0].embedding, found[1].embedding) << "\n";
  }
}
// [end]

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: detect_objects PICTURE...\n";
    return 2;
  }
  try {
    detect({argv + 1, argv + argc});
  } catch (const plait::Error& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
  return 0;
}
