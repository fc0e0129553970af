#include "plait/api/face_detector.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "plait/core/device.h"
#include "plait/core/error.h"
#include "plait/data/decode.h"
#include "plait/data/image/bilinear.h"
#include "plait/models/catalogue.h"
#include "plait/models/tasks/boxes.h"

namespace plait::api {
namespace {

constexpr const char* kUnit = "face_detector";
constexpr int64_t kDetectorSide = 512, kLandmarkSide = 112, kRecognizerSide = 150;
/// How the recogniser's faces lie in their squares: places and size against the distance from the
/// eyes to the mouth.
constexpr double kCentreX = 0.5, kCentreY = 0.43, kEyesToMouth = 0.45;

/// Left, top, width, height in whole pixels.
struct Crop {
  int64_t x = 0, y = 0, width = 0, height = 0;
  bool empty() const { return width < 1 || height < 1; }
  at::Tensor of(const at::Tensor& rgb) const {
    return rgb.narrow(0, y, height).narrow(1, x, width);
  }
};

/// The part of a box that lies in the picture, all four rounded down.
Crop crop_within(const at::Tensor& rgb, double x, double y, double right, double bottom) {
  const double width = static_cast<double>(rgb.size(1)), height = static_cast<double>(rgb.size(0));
  if (!std::isfinite(x) || !std::isfinite(y) || !std::isfinite(right) || !std::isfinite(bottom))
    fail(ErrorCode::kCorruptData, kUnit, "expected finite places of a face, got NaN or infinity");
  x = std::clamp(x, 0.0, width);
  y = std::clamp(y, 0.0, height);
  auto whole = [](double value) { return static_cast<int64_t>(std::floor(value)); };
  return {whole(x), whole(y), whole(std::min(right, width) - x),
          whole(std::min(bottom, height) - y)};
}

/// float32 [1, 3, side, side] as the landmarks' and the recogniser's networks were trained on.
at::Tensor face_input(const at::Tensor& crop, int64_t side) {
  at::Tensor mean = at::tensor({122.782f, 117.001f, 104.298f}).reshape({3, 1, 1});
  at::Tensor pixels = data::resize_bilinear(crop, side, side, data::Square::kCentred);
  return pixels.sub_(mean).div_(255).unsqueeze(0);
}

std::array<double, 2> centre_of(const std::vector<std::array<double, 2>>& points, size_t from,
                                size_t to) {
  std::array<double, 2> sum{};
  for (size_t i = from; i < to; ++i) {
    sum[0] += points[i][0];
    sum[1] += points[i][1];
  }
  return {sum[0] / static_cast<double>(to - from), sum[1] / static_cast<double>(to - from)};
}

/// The square around eyes and mouth; `found` is the crop that the landmarks were looked for in.
Crop align(const at::Tensor& rgb, const std::vector<std::array<double, 2>>& points,
           const Crop& found) {
  const auto left = centre_of(points, 36, 42), right = centre_of(points, 42, 48),
             mouth = centre_of(points, 48, 68);
  auto distance = [&](const std::array<double, 2>& eye) {
    return std::hypot(mouth[0] - eye[0], mouth[1] - eye[1]);
  };
  double size = std::floor((distance(left) + distance(right)) / 2 / kEyesToMouth);
  double x = (left[0] + right[0] + mouth[0]) / 3 - kCentreX * size;
  double y = (left[1] + right[1] + mouth[1]) / 3 - kCentreY * size;
  x = std::floor(std::max(x, 0.0));
  y = std::floor(std::max(y, 0.0));
  return crop_within(rgb, x, y, x + std::min(size, static_cast<double>(found.width) + x),
                     y + std::min(size, static_cast<double>(found.height) + y));
}

std::unique_ptr<models::OnnxGraph> load(const std::string& path, size_t outputs,
                                        c10::Device device) {
  auto graph = std::make_unique<models::OnnxGraph>(models::OnnxGraph::load(path));
  if (graph->inputs().size() != 1 || graph->outputs().size() != outputs)
    fail(ErrorCode::kCorruptData, kUnit,
         path + ": expected one input and " + std::to_string(outputs) + " outputs");
  graph->to(device);
  return graph;
}

std::string folder_of(const std::string& name, const char* type, const data::Progress& progress) {
  const std::string dir = models::resolve_model(name, progress);
  Json config = Json::read(dir + "/config.json", size_t{16} << 20);
  if (config.get("model_type", "") != type)
    fail(ErrorCode::kInvalidArgument, kUnit,
         dir + ": expected model_type " + type + ", got \"" + config.get("model_type", "") + "\"");
  return dir;
}

}  // namespace

Json DetectedFace::to_json() const {
  Json json = Json::object({{"score", score}, {"box", box_to_json(box)}});
  if (!landmarks.empty()) {
    Json points = Json::array();
    for (const auto& [x, y] : landmarks)
      points.push_back(Json::array({static_cast<double>(x), static_cast<double>(y)}));
    json["landmarks"] = points;
  }
  if (!embedding.empty())
    json["embedding"] = Json(std::vector<double>(embedding.begin(), embedding.end()));
  return json;
}

std::shared_ptr<FaceDetector> FaceDetector::from_pretrained(const std::string& detector,
                                                            const std::string& recognizer,
                                                            const ModelOptions& options,
                                                            const data::Progress& progress) {
  const c10::Device device = device_from_string(options.backend);
  auto made = std::make_shared<FaceDetector>();
  made->backend_ = options.backend;
  const std::string dir = folder_of(detector, "plait-faces", progress);
  made->detector_ = load(dir + "/detector.safetensors", 2, device);
  made->landmarks_ = load(dir + "/landmarks.safetensors", 1, device);
  if (recognizer.empty()) return made;
  const std::string other = folder_of(recognizer, "plait-face-recognition", progress);
  made->recognizer_ = load(other + "/recognizer.safetensors", 1, device);
  return made;
}

TensorMap FaceDetector::run(const models::OnnxGraph& network, const at::Tensor& input) const {
  TensorMap out = network.run({{network.inputs()[0], input.to(device_from_string(backend_))}});
  for (auto& [name, tensor] : out) tensor = tensor.to(at::kCPU, at::kDouble).contiguous();
  return out;
}

FaceDetector::Points FaceDetector::find_landmarks(const at::Tensor& crop) const {
  at::Tensor out = run(*landmarks_, face_input(crop, kLandmarkSide)).begin()->second;
  if (out.numel() != 136)
    fail(ErrorCode::kCorruptData, kUnit, "expected 68 landmarks, got " + describe(out));
  const auto* value = out.const_data_ptr<double>();
  const double height = static_cast<double>(crop.size(0)),
               width = static_cast<double>(crop.size(1));
  // Of the network's square, the shorter side is filled up on both of its ends.
  const double scale = kLandmarkSide / std::max(height, width);
  const double pad_x = std::max(height - width, 0.0) * scale / 2;
  const double pad_y = std::max(width - height, 0.0) * scale / 2;
  Points points;
  for (size_t i = 0; i < 68; ++i)
    points.push_back({(value[2 * i] * kLandmarkSide - pad_x) / scale,
                      (value[2 * i + 1] * kLandmarkSide - pad_y) / scale});
  return points;
}

std::vector<float> FaceDetector::embed(const at::Tensor& crop) const {
  at::Tensor out = run(*recognizer_, face_input(crop, kRecognizerSide)).begin()->second.flatten();
  out = (out / out.norm().clamp_min(1e-12)).to(at::kFloat).contiguous();
  return {out.const_data_ptr<float>(), out.const_data_ptr<float>() + out.numel()};
}

void FaceDetector::describe_face(const at::Tensor& rgb, const std::array<double, 4>& found,
                                 const FaceOptions& options, DetectedFace& face) const {
  const Crop crop = crop_within(rgb, found[0], found[1], found[2], found[3]);
  if (crop.empty()) return;
  Points points = find_landmarks(crop.of(rgb));
  for (auto& [x, y] : points) {
    x += found[0];
    y += found[1];
    face.landmarks.push_back({static_cast<float>(x), static_cast<float>(y)});
  }
  if (!options.embeddings) return;
  const Crop aligned = align(rgb, points, crop);
  if (!aligned.empty()) face.embedding = embed(aligned.of(rgb));
}

std::vector<DetectedFace> FaceDetector::detect(const Value& image,
                                               const FaceOptions& options) const {
  require(options.limit >= 0, kUnit, "expected a limit of at least 0, got a negative one");
  require(!options.embeddings || recognizer_, kUnit,
          "expected a recogniser for embeddings, got none");
  at::Tensor rgb = data::decode_image_value(image, "image");
  if (rgb.numel() == 0) return {};
  const double width = static_cast<double>(rgb.size(1)), height = static_cast<double>(rgb.size(0));
  at::Tensor input = data::resize_bilinear(rgb, kDetectorSide, kDetectorSide, data::Square::kAtEnd);
  TensorMap out = run(*detector_, input.div_(127.5).sub_(1).unsqueeze(0));
  const at::Tensor all = out.at("boxes"), score = out.at("scores");
  if (all.dim() != 3 || all.size(2) != 4 || score.dim() != 2 || score.size(1) != all.size(1))
    fail(ErrorCode::kCorruptData, kUnit,
         "expected boxes and scores, got " + describe(all) + " and " + describe(score));
  at::Tensor likely = score[0].gt(options.min_score).nonzero().flatten();
  at::Tensor scores = score[0].index_select(0, likely);
  // Top, left, bottom, right in the network's square.
  at::Tensor boxes =
      all[0].index_select(0, likely).index_select(1, at::tensor({1, 0, 3, 2}, at::kLong));
  at::Tensor kept = models::nms(boxes, scores, options.iou_threshold, options.limit);
  // The published rule: the square's part that the picture takes up counts as whole pixels.
  const double scale = static_cast<double>(kDetectorSide) / std::max(height, width);
  auto share = [&](double side) {
    return static_cast<double>(kDetectorSide) / std::max(std::round(side * scale), 1.0) * side;
  };
  const double unit[4] = {share(width), share(height), share(width), share(height)};
  std::vector<DetectedFace> faces;
  for (int64_t i = 0; i < kept.numel(); ++i) {
    int64_t at = kept[i].item<int64_t>();
    std::array<double, 4> found{};
    DetectedFace face;
    face.score = scores[at].item<double>();
    for (size_t side = 0; side < 4; ++side) {
      double value = boxes[at][static_cast<int64_t>(side)].item<double>();
      found[side] = (side < 2 ? std::max(value, 0.0) : std::min(value, 1.0)) * unit[side];
      face.box[side] =
          static_cast<float>(std::clamp(found[side], 0.0, side % 2 == 0 ? width : height));
    }
    if (options.landmarks || options.embeddings) describe_face(rgb, found, options, face);
    faces.push_back(std::move(face));
  }
  return faces;
}

double face_similarity(const std::vector<float>& a, const std::vector<float>& b) {
  require(!a.empty() && a.size() == b.size(), kUnit,
          "expected two embeddings of one length, got two lengths or none");
  double product = std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
  double norms = std::sqrt(std::inner_product(a.begin(), a.end(), a.begin(), 0.0) *
                           std::inner_product(b.begin(), b.end(), b.begin(), 0.0));
  return norms > 0 ? std::clamp(product / norms, -1.0, 1.0) : 0.0;
}

}  // namespace plait::api
