#pragma once
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <string>
#include <vector>

#include "plait/api/recipe.h"

/// Drawn items with a value and tags, for tests of tasks that are not one choice among classes.
namespace plait::api {

inline constexpr int kWidth = 5;
inline const std::vector<std::string> kStreams = {"left", "middle", "right"};
inline const std::vector<std::string> kTags = {"hot", "loud", "wet"};

/// Three views of three hidden numbers: the load follows the first, each tag says that one is high.
inline std::vector<Sample> samples(int count, uint64_t seed) {
  auto fixed = at::detail::createCPUGenerator(7), generator = at::detail::createCPUGenerator(seed);
  std::vector<at::Tensor> mix;
  for (size_t m = 0; m < kStreams.size(); ++m)
    mix.push_back(at::randn({3, kWidth}, fixed, at::kDouble));
  std::vector<Sample> out(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) {
    Sample& s = out[static_cast<size_t>(i)];
    s.id = std::to_string(seed) + "-" + std::to_string(i);
    at::Tensor z = at::randn({3}, generator, at::kDouble);
    for (size_t m = 0; m < kStreams.size(); ++m) {
      const double noise = 0.2 + 0.2 * static_cast<double>(m);
      s.streams[kStreams[m]] =
          at::matmul(z, mix[m]) + noise * at::randn({kWidth}, generator, at::kDouble);
    }
    s.labels["load"] = 1000 + 250 * z[0].item<double>();
    Json tags = Json::array();
    for (int64_t k = 0; k < 3; ++k) {
      if (z[k].item<double>() > 0.3) tags.push_back(kTags[static_cast<size_t>(k)]);
    }
    s.labels["tags"] = tags;
  }
  return out;
}

inline Recipe recipe() {
  Recipe r;
  r.damage = 0.3;
  r.damaged_copies = 1;
  r.task = "load";
  r.model = Json::parse(R"({"width": 16, "fusion": {"type": "concatenation"},
    "tasks": {"load": {"type": "regression"}, "tags": {"type": "multi_label"}}})");
  for (const std::string& name : kStreams) {
    Json part = Json::object({{"type", "vector"}, {"features", kWidth}});
    r.model["streams"][name] =
        Json::object({{"encoder", part}, {"processor", part}, {"frozen", true}});
  }
  r.training = Json::object(
      {{"num_train_epochs", 10}, {"learning_rate", 0.01}, {"per_device_train_batch_size", 32}});
  return r;
}

inline data::DatasetSplits splits() {
  data::DatasetSplits out;
  out.train = samples(160, 1);
  out.validation = samples(80, 2);
  out.test = samples(150, 3);
  return out;
}

/// The test items, with the clearest stream drowned in noise.
inline std::vector<Sample> broken() {
  std::vector<Sample> out = splits().test;
  auto generator = at::detail::createCPUGenerator(5);
  for (Sample& s : out) s.streams["left"] = 30 * at::randn({kWidth}, generator, at::kDouble);
  return out;
}

inline PredictOptions explained(const std::string& task) {
  PredictOptions options;
  options.task = task;
  options.explain = true;
  return options;
}

}  // namespace plait::api
