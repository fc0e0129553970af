#include "plait/api/object_detector.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "plait/api/trained_detector.h"
#include "plait/core/device.h"
#include "plait/core/error.h"
#include "plait/data/decode.h"
#include "plait/data/image/bilinear.h"
#include "plait/models/catalogue.h"
#include "plait/models/tasks/boxes.h"
#include "plait/models/tasks/center_boxes.h"

namespace plait::api {
namespace {

constexpr const char* kUnit = "object_detector";

}  // namespace

Json box_to_json(const PixelBox& box) {
  Json out = Json::array();
  for (float side : box) out.push_back(static_cast<double>(side));
  return out;
}

Json DetectedObject::to_json() const {
  return Json::object({{"label", label}, {"score", score}, {"box", box_to_json(box)}});
}

std::shared_ptr<ObjectDetector> ObjectDetector::from_pretrained(const std::string& name_or_path,
                                                                const ModelOptions& options,
                                                                const data::Progress& progress) {
  const c10::Device device = device_from_string(options.backend);
  const std::string dir = models::resolve_model(name_or_path, progress);
  Json config = Json::read(dir + "/config.json", size_t{16} << 20);
  if (config.get("model_type", "") == "plait-detector" && config.get("kind", "") == "network") {
    auto made = std::make_shared<ObjectDetector>();
    made->trained_ = std::make_shared<TrainedDetector>(dir, config, device);
    made->classes_ = made->trained_->classes();
    return made;
  }
  if (config.get("model_type", "") != "plait-detector" || config.get("kind", "") != "centernet")
    fail(ErrorCode::kInvalidArgument, kUnit,
         dir + ": expected a detector (model_type plait-detector, kind centernet), got \"" +
             config.get("model_type", "") + "\"");
  auto made = std::make_shared<ObjectDetector>();
  made->classes_ = config.at("classes").as_strings();
  made->size_ = config.get("size", 512);
  made->stride_ = config.get("stride", 4);
  made->backend_ = options.backend;
  made->network_ =
      std::make_unique<models::OnnxGraph>(models::OnnxGraph::load(dir + "/detector.safetensors"));
  if (made->network_->inputs().size() != 1 || made->network_->outputs().size() != 2 ||
      made->size_ < 32 || made->size_ > 4096)
    fail(ErrorCode::kCorruptData, kUnit, dir + ": expected a network of one input and two outputs");
  made->network_->to(device);
  return made;
}

std::vector<DetectedObject> ObjectDetector::detect(const Value& image,
                                                   const DetectOptions& options) const {
  require(options.limit >= 0, kUnit, "expected a limit of at least 0, got a negative one");
  at::Tensor rgb = data::decode_image_value(image, "image");
  if (rgb.numel() == 0) return {};
  if (trained_) return trained_->detect(rgb, options);
  at::Tensor input = data::resize_bilinear(rgb, size_, size_).permute({1, 2, 0}).unsqueeze(0);
  TensorMap out = network_->run({{network_->inputs()[0], input.to(device_from_string(backend_))}});
  const at::Tensor heat = out.at(network_->outputs()[0]).to(at::kCPU);
  const at::Tensor sides = out.at(network_->outputs()[1]).to(at::kCPU);
  if (heat.dim() != 4 || sides.dim() != 4 || heat.size(3) != static_cast<int64_t>(classes_.size()))
    fail(ErrorCode::kCorruptData, kUnit,
         "expected a map of every class, got " + describe(heat) + " and " + describe(sides));
  models::BoxCandidates found =
      models::decode_centers(heat[0], sides[0], stride_, options.min_score);
  const double size = static_cast<double>(size_);
  const double width = static_cast<double>(rgb.size(1)), height = static_cast<double>(rgb.size(0));
  at::Tensor kept = models::nms(found.boxes, found.scores, options.iou_threshold, options.limit);
  at::Tensor scale =
      at::tensor({width / size, height / size, width / size, height / size}, at::kDouble);
  at::Tensor boxes = models::clip_boxes(found.boxes.to(at::kDouble) * scale, height, width);
  std::vector<DetectedObject> objects;
  for (int64_t i = 0; i < kept.numel(); ++i) {
    int64_t at = kept[i].item<int64_t>();
    DetectedObject object;
    object.label = classes_[static_cast<size_t>(found.classes[at].item<int64_t>())];
    object.score = found.scores[at].item<double>();
    for (int64_t side = 0; side < 4; ++side)
      object.box[static_cast<size_t>(side)] = boxes[at][side].item<float>();
    objects.push_back(std::move(object));
  }
  return objects;
}

}  // namespace plait::api
