#include <cstdio>

#include "plait/api/detector_training.h"
#include "plait/cli/commands.h"
#include "plait/train/progress_bar.h"

namespace plait::cli {

int train_detector(const TrainDetectorArgs& args) {
  Json given = Json::object({{"architecture", args.architecture}, {"backend", args.backend}});
  for (const auto& [name, value] : args.numbers) given[name] = value;
  for (const auto& [name, value] : args.integers) given[name] = static_cast<int64_t>(value);
  const auto recipe = read_config<api::DetectorRecipe>(given, "train-detector");
  const Json result =
      api::train_detector(args.annotations, args.pictures, args.output, recipe,
                          args.json ? train::ProgressCallback() : train::progress_bar());
  if (args.json) {
    std::printf("%s\n", result.dump().c_str());
    return 0;
  }
  const Json& metrics = result.at("metrics");
  std::printf("%s: %lld steps, %.0f s; of %lld pictures held out: AP50 %.3f, AP %.3f\n",
              args.output.c_str(), static_cast<long long>(result.at("steps").as_int()),
              result.at("seconds").as_double(),
              static_cast<long long>(result.at("held_out").as_int()), metrics.get("ap50", 0.0),
              metrics.get("ap", 0.0));
  return 0;
}

}  // namespace plait::cli
