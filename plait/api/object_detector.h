#pragma once
#include <array>
#include <memory>
#include <string>
#include <vector>

#include "plait/api/multimodal_model.h"
#include "plait/data/packages/cache.h"
#include "plait/models/graph/onnx_graph.h"

namespace plait::api {

/// Left, top, right, bottom in pixels of the picture, within it.
using PixelBox = std::array<float, 4>;
Json box_to_json(const PixelBox& box);

/// A thing in a picture.
struct DetectedObject {
  std::string label;
  double score = 0;  ///< In [0, 1]
  PixelBox box{};
  Json to_json() const;
};

struct DetectOptions {
  double min_score = 0.2;      ///< Things at or below it are left out.
  double iou_threshold = 0.4;  ///< Of two boxes that overlap by more, the better one stays.
  int64_t limit = 100;         ///< At most so many things
};

class TrainedDetector;

/// Finds things of the 80 classes of COCO: MobileNetV3-CenterNet of the package @vladmandic/human;
/// or those that a detector of one's own was trained for. Thread-safe after loading.
class ObjectDetector {
 public:
  /// A folder as models::convert_centernet or train_detector write it, or a name from `plait models
  /// list`, fetched when needed. `options.backend` is used.
  static std::shared_ptr<ObjectDetector> from_pretrained(
      const std::string& name_or_path = "centernet", const ModelOptions& options = {},
      const data::Progress& progress = {});

  /// Best first. @throws Error as data::decode_image_value does.
  std::vector<DetectedObject> detect(const Value& image, const DetectOptions& options = {}) const;
  const std::vector<std::string>& classes() const { return classes_; }

 private:
  std::shared_ptr<const TrainedDetector> trained_;  ///< In place of network_
  std::unique_ptr<models::OnnxGraph> network_;
  std::vector<std::string> classes_;
  int64_t size_ = 0, stride_ = 0;
  std::string backend_;
};

}  // namespace plait::api
