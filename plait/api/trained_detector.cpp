#include "plait/api/trained_detector.h"

#include <ATen/ATen.h>

#include "plait/core/device.h"
#include "plait/core/error.h"
#include "plait/core/weights/model_folder.h"
#include "plait/data/image/place.h"
#include "plait/models/registry.h"
#include "plait/models/tasks/boxes.h"
#include "plait/train/boxed_source.h"

namespace plait::api {

TrainedDetector::TrainedDetector(const std::string& dir, const Json& config, c10::Device device)
    : device_(device) {
  const std::string where = dir + "/config.json";
  if (config.get("format_version", 1) > 1)
    fail(ErrorCode::kUnavailable, "object_detector", where + ": expected format_version 1");
  classes_ = config.at("classes").as_strings();
  size_ = config.at("size").as_int();
  network_ = models::create_as<models::Detector>(config.at("network"), where);
  if (size_ < 32 || size_ > 4096 || size_ % network_->stride() != 0 ||
      network_->classes() != static_cast<int64_t>(classes_.size()))
    fail(ErrorCode::kCorruptData, "object_detector",
         where + ": expected a size of multiples of the stride and a name for each class");
  try {
    network_->load_state_dict(ModelFolder::open(dir).weights());
  } catch (const Error& error) {
    fail(ErrorCode::kCorruptData, "object_detector", dir + ": " + error.what());
  }
  network_->to(device);
}

std::vector<DetectedObject> TrainedDetector::detect(const at::Tensor& rgb,
                                                    const DetectOptions& options) const {
  const double scale = data::fitting_scale(rgb, size_);
  at::Tensor pixels = train::detector_pixels(data::place_picture(rgb, size_, scale)).unsqueeze(0);
  models::DetectOptions how;
  how.score_threshold = options.min_score;
  how.iou_threshold = options.iou_threshold;
  how.max_detections = options.limit;
  const models::Detections found = network_->detect(pixels.to(device_), how).front();
  at::Tensor boxes =
      models::clip_boxes(found.boxes.to(at::kCPU) / scale, static_cast<double>(rgb.size(0)),
                         static_cast<double>(rgb.size(1)));
  at::Tensor scores = found.scores.to(at::kCPU), classes = found.classes.to(at::kCPU);
  std::vector<DetectedObject> objects;
  for (int64_t i = 0; i < boxes.size(0); ++i) {
    DetectedObject object;
    object.label = classes_[static_cast<size_t>(classes[i].item<int64_t>())];
    object.score = scores[i].item<double>();
    for (int64_t side = 0; side < 4; ++side)
      object.box[static_cast<size_t>(side)] = boxes[i][side].item<float>();
    objects.push_back(std::move(object));
  }
  return objects;
}

}  // namespace plait::api
