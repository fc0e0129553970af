#pragma once
#include <string>

#include "plait/core/config.h"
#include "plait/train/trainer.h"

namespace plait::api {

/// How a detector is trained on pictures of one's own.
struct DetectorRecipe {
  std::string architecture = "yolox";
  double depth = 0.33;
  double width = 0.25;
  int64_t size = 320;
  double epochs = 30;
  int64_t max_steps = 0;
  int64_t batch_size = 16;
  double learning_rate = 2e-3;
  double held_out = 0.1;
  int64_t seed = 42;
  std::string backend = "cpu";

  void visit(ConfigVisitor& v);
  void validate() const;
  static DetectorRecipe tiny();
};

/// Trains a detector on pictures with boxes (data/datasets/boxed_pictures.h) and writes the folder
/// `out`, which ObjectDetector::from_pretrained loads. A share of the pictures is held out to
/// measure on; the weights that were best there are kept. Returns {"path", "classes", "pictures",
/// "held_out", "steps", "seconds", "parameters", "metrics": {"ap", "ap50", "ap75", "ar100",
/// "loss"}}.
/// @throws Error as read_coco and Trainer::train do; kInvalidArgument for fewer than two pictures
/// or none with objects held out.
Json train_detector(const std::string& annotations, const std::string& pictures,
                    const std::string& out, const DetectorRecipe& recipe,
                    const train::ProgressCallback& progress = {});

}  // namespace plait::api
