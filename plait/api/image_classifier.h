#pragma once
#include <memory>
#include <string>
#include <vector>

#include "plait/api/auto_model.h"
#include "plait/data/packages/cache.h"

namespace plait::api {

/// A class that a picture may show.
struct ImageLabel {
  std::string label;
  int64_t index = 0;       ///< Of the network's output
  double probability = 0;  ///< Of all classes together 1
  Json to_json() const;
};

/// Says what a picture shows as a whole: the 1,000 classes of ImageNet by EfficientNet-Lite0 (Tan
/// and Le 2019, arXiv 1905.11946), in English. Thread-safe after loading.
class ImageClassifier {
 public:
  /// A folder of an encoder with a classifier and its "classes" in config.json, or a name from
  /// `plait models list`, fetched when needed. `options.backend` and `options.dtype` are used.
  static std::shared_ptr<ImageClassifier> from_pretrained(
      const std::string& name_or_path = "imagenet-classifier", const ModelOptions& options = {},
      const data::Progress& progress = {});

  /// The `top` most probable classes, best first. @throws Error as data::decode_image_value does,
  /// kInvalidArgument for a `top` below 1.
  std::vector<ImageLabel> classify(const Value& image, int64_t top = 5) const;
  const std::vector<std::string>& classes() const { return classes_; }

 private:
  std::shared_ptr<AutoModel> model_;
  std::vector<std::string> classes_;
};

}  // namespace plait::api
