#include "plait/api/detector_training.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "plait/core/device.h"
#include "plait/core/error.h"
#include "plait/core/weights/model_folder.h"
#include "plait/models/registry.h"
#include "plait/train/boxed_source.h"
#include "plait/train/picture_training.h"

namespace plait::api {
namespace {

constexpr const char* kUnit = "train_detector";

/// The rows in an order of the seed; those at the front are held out.
std::vector<int64_t> shuffled(size_t count, uint64_t seed) {
  std::vector<int64_t> rows(count);
  std::iota(rows.begin(), rows.end(), int64_t{0});
  std::mt19937_64 random(seed);
  for (size_t i = count; i > 1; --i) std::swap(rows[i - 1], rows[random() % i]);
  return rows;
}

train::TrainingArguments arguments_of(const DetectorRecipe& recipe) {
  train::TrainingArguments args;
  args.learning_rate = recipe.learning_rate;
  args.num_train_epochs = recipe.epochs;
  args.max_steps = recipe.max_steps;
  args.per_device_train_batch_size = recipe.batch_size;
  args.warmup_ratio = 0.1;
  args.weight_decay = 0.05;
  args.seed = recipe.seed;
  args.metric_for_best_model = "ap";
  args.greater_is_better = "true";
  return args;
}

}  // namespace

void DetectorRecipe::visit(ConfigVisitor& v) {
  v.field("architecture", architecture, "Which network",
          {.one_of = {"yolox", "yolo_v5", "yolo_v8"}});
  v.field("depth", depth, "Scale of the number of blocks", {.min = 0.01, .max = 10});
  v.field("width", width, "Scale of the channels", {.min = 0.015, .max = 8});
  v.field("size", size, "Side of the pictures in pixels, a multiple of 32",
          {.min = 32, .max = 4096});
  v.field("epochs", epochs, "Passes over the pictures", {.min = 0, .max = 1e6});
  v.field("max_steps", max_steps, "Steps in place of epochs; 0: as many as they need",
          {.min = 0, .max = 1e9});
  v.field("batch_size", batch_size, "Pictures of a step", {.min = 1, .max = 4096});
  v.field("learning_rate", learning_rate, "At its highest", {.min = 0, .max = 10});
  v.field("held_out", held_out, "Share of the pictures to measure on", {.min = 0, .max = 0.9});
  v.field("seed", seed, "Of the weights, the order and what is held out", {.min = 0});
  v.field("backend", backend, "cpu, cuda, cuda:N");
}

void DetectorRecipe::validate() const {
  require(size % 32 == 0, kUnit, "expected a size that is a multiple of 32");
}

DetectorRecipe DetectorRecipe::tiny() {
  DetectorRecipe recipe;
  recipe.width = 0.125;
  recipe.size = 64;
  recipe.max_steps = 10;
  return recipe;
}

Json train_detector(const std::string& annotations, const std::string& pictures,
                    const std::string& out, const DetectorRecipe& recipe,
                    const train::ProgressCallback& progress) {
  recipe.validate();
  require(!out.empty(), kUnit, "expected a folder to write to");
  const c10::Device device = device_from_string(recipe.backend);
  auto found = std::make_shared<const data::BoxedPictures>(data::read_coco(annotations, pictures));
  const size_t count = found->pictures.size();
  require(count >= 2 && !found->classes.empty(), kUnit,
          "expected at least two pictures and a class");
  std::vector<int64_t> rows = shuffled(count, static_cast<uint64_t>(recipe.seed));
  const auto held = static_cast<std::ptrdiff_t>(std::clamp<double>(
      std::round(recipe.held_out * static_cast<double>(count)), 1, static_cast<double>(count - 1)));
  std::vector<int64_t> measured(rows.begin(), rows.begin() + held);
  rows.erase(rows.begin(), rows.begin() + held);
  require(std::any_of(measured.begin(), measured.end(),
                      [&](int64_t row) { return !found->pictures[row].boxes.empty(); }),
          kUnit, "expected an object in the pictures that are held out; hold out more");

  const Json config = Json::object({{"type", recipe.architecture},
                                    {"num_classes", found->classes.size()},
                                    {"depth", recipe.depth},
                                    {"width", recipe.width}});
  auto detector = models::create_as<models::Detector>(config, kUnit);
  detector->initialize(static_cast<uint64_t>(recipe.seed));
  detector->to(device);
  train::Trainer trainer(std::make_shared<train::DetectionTraining>(detector), arguments_of(recipe),
                         std::make_shared<train::BoxedSource>(found, rows, recipe.size),
                         std::make_shared<train::BoxedSource>(found, measured, recipe.size));
  if (progress) trainer.set_callback(progress);
  const train::TrainResult result = trainer.train();

  Json network = detector->config();
  network["type"] = recipe.architecture;
  save_model_folder(out,
                    Json::object({{"model_type", "plait-detector"},
                                  {"kind", "network"},
                                  {"format_version", 1},
                                  {"size", recipe.size},
                                  {"classes", found->classes},
                                  {"network", network}}),
                    detector->state_dict());
  Json metrics = Json::object({});
  for (const auto& [name, value] : result.metrics) metrics[name] = value;
  return Json::object({{"path", out},
                       {"classes", found->classes},
                       {"pictures", rows.size()},
                       {"held_out", measured.size()},
                       {"steps", result.steps},
                       {"seconds", result.seconds},
                       {"parameters", detector->parameter_count()},
                       {"metrics", metrics}});
}

}  // namespace plait::api
