#include <cstdio>

#include "plait/api/face_detector.h"
#include "plait/cli/commands.h"
#include "plait/cli/pictures.h"
#include "plait/cli/stages.h"
#include "plait/core/error.h"

namespace plait::cli {
namespace {

data::Quad corners(const api::PixelBox& box) {
  return {{{box[0], box[1]}, {box[2], box[1]}, {box[2], box[3]}, {box[0], box[3]}}};
}

void print_row(const std::string& label, double score, const api::PixelBox& box) {
  std::printf("%.2f  %-14s %5.0f %5.0f %5.0f %5.0f\n", score, label.c_str(),
              static_cast<double>(box[0]), static_cast<double>(box[1]), static_cast<double>(box[2]),
              static_cast<double>(box[3]));
}

/// One picture's findings, printed and drawn.
template <class Found, class Label>
void show(const DetectArgs& args, const std::string& file, const char* key,
          const std::vector<Found>& found, Label label) {
  if (args.json) {
    Json rows = Json::array();
    for (const Found& one : found) rows.push_back(one.to_json());
    std::printf("%s\n", Json::object({{"file", file}, {key, rows}}).dump().c_str());
  } else {
    if (args.files.size() > 1) std::printf("%s\n", file.c_str());
    for (const Found& one : found) print_row(label(one), one.score, one.box);
  }
  if (args.draw.empty()) return;
  std::vector<data::Quad> quads;
  std::vector<std::string> labels;
  for (const Found& one : found) {
    char text[64];
    std::snprintf(text, sizeof text, "%s %.2f", label(one).c_str(), one.score);
    quads.push_back(corners(one.box));
    labels.emplace_back(text);
  }
  draw_quads(file, quads, labels, args.draw);
}

void detect_objects(const DetectArgs& args, const api::ModelOptions& how) {
  const std::string model = args.model.empty() ? "centernet" : args.model;
  Stages stages;
  auto detector = api::ObjectDetector::from_pretrained(model, how, stages.fetch("Model: " + model));
  stages.finish();
  api::DetectOptions options;
  if (args.min_score >= 0) options.min_score = args.min_score;
  for (const std::string& file : args.files)
    show(args, file, "objects", detector->detect(Path{file}, options),
         [](const api::DetectedObject& object) { return object.label; });
}

void detect_faces(const DetectArgs& args, const api::ModelOptions& how) {
  const std::string model = args.model.empty() ? "face-ssd" : args.model;
  api::FaceOptions options;
  if (args.min_score >= 0) options.min_score = args.min_score;
  // What the table does not show is not computed.
  options.landmarks = options.embeddings = args.json;
  Stages stages;
  auto detector = api::FaceDetector::from_pretrained(
      model, options.embeddings ? "face-recognition" : "", how, stages.fetch("Model: " + model));
  stages.finish();
  for (const std::string& file : args.files)
    show(args, file, "faces", detector->detect(Path{file}, options),
         [](const api::DetectedFace&) { return std::string("face"); });
}

}  // namespace

int detect(const DetectArgs& args) {
  if (!args.draw.empty() && args.files.size() != 1)
    fail(ErrorCode::kInvalidArgument, "detect", "expected one file with --draw");
  api::ModelOptions how;
  how.backend = args.backend;
  if (args.faces) {
    detect_faces(args, how);
  } else {
    detect_objects(args, how);
  }
  return 0;
}

}  // namespace plait::cli
