#pragma once
#include <memory>
#include <string>
#include <vector>

#include "plait/api/object_detector.h"
#include "plait/models/detection/detector.h"

namespace plait::api {

/// A detector that train_detector made, behind ObjectDetector. Thread-safe after loading.
class TrainedDetector {
 public:
  /// `config` is the folder's config.json. @throws Error kCorruptData naming the folder.
  TrainedDetector(const std::string& dir, const Json& config, c10::Device device);
  /// uint8 [H, W, 3] → what is in it, best first.
  std::vector<DetectedObject> detect(const at::Tensor& rgb, const DetectOptions& options) const;
  const std::vector<std::string>& classes() const { return classes_; }

 private:
  std::shared_ptr<models::Detector> network_;
  std::vector<std::string> classes_;
  int64_t size_ = 0;
  c10::Device device_;
};

}  // namespace plait::api
