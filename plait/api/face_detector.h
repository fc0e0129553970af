#pragma once
#include <memory>
#include <string>
#include <vector>

#include "plait/api/object_detector.h"

namespace plait::api {

/// A face in a picture.
struct DetectedFace {
  double score = 0;  ///< In [0, 1]
  PixelBox box{};
  /// Pixels [x, y] of 68 places: 0–16 jaw, 17–26 brows, 27–35 nose, 36–47 eyes, 48–67 mouth; empty
  /// when they were not asked for or the face is smaller than a pixel.
  std::vector<std::array<float, 2>> landmarks;
  /// 128 features of length 1, alike for pictures of one person; empty like the landmarks.
  std::vector<float> embedding;
  Json to_json() const;
};

struct FaceOptions {
  double min_score = 0.5;      ///< Faces at or below it are left out.
  double iou_threshold = 0.5;  ///< Of two boxes that overlap by more, the better one stays.
  int64_t limit = 100;         ///< At most so many faces
  bool landmarks = true;
  bool embeddings = true;  ///< They need the landmarks, which are then given too.
};

/// Finds faces and tells them apart: SSD-MobileNetV1, 68 landmarks and a ResNet of the package
/// @vladmandic/face-api, with its rules around them. Thread-safe after loading.
class FaceDetector {
 public:
  /// Folders as models::convert_face_ssd and convert_face_recognition write them, or names from
  /// `plait models list`, fetched when needed. Without embeddings `recognizer` may be "".
  /// `options.backend` is used.
  static std::shared_ptr<FaceDetector> from_pretrained(
      const std::string& detector = "face-ssd", const std::string& recognizer = "face-recognition",
      const ModelOptions& options = {}, const data::Progress& progress = {});

  /// Best first. @throws Error as data::decode_image_value does; kInvalidArgument for embeddings
  /// without a recogniser.
  std::vector<DetectedFace> detect(const Value& image, const FaceOptions& options = {}) const;

 private:
  using Points = std::vector<std::array<double, 2>>;
  TensorMap run(const models::OnnxGraph& network, const at::Tensor& input) const;
  void describe_face(const at::Tensor& rgb, const std::array<double, 4>& found,
                     const FaceOptions& options, DetectedFace& face) const;
  Points find_landmarks(const at::Tensor& crop) const;
  std::vector<float> embed(const at::Tensor& crop) const;

  std::unique_ptr<models::OnnxGraph> detector_, landmarks_, recognizer_;
  std::string backend_;
};

/// Cosine of two embeddings, in [-1, 1]. @throws Error kInvalidArgument when their lengths differ
/// or are 0.
double face_similarity(const std::vector<float>& a, const std::vector<float>& b);

}  // namespace plait::api
