#include <cstdio>

#include "plait/api/image_classifier.h"
#include "plait/cli/commands.h"
#include "plait/cli/stages.h"

namespace plait::cli {

int classify(const ClassifyArgs& args) {
  api::ModelOptions how;
  how.backend = args.backend;
  Stages stages;
  auto classifier =
      api::ImageClassifier::from_pretrained(args.model, how, stages.fetch("Model: " + args.model));
  stages.finish();
  for (const std::string& file : args.files) {
    std::vector<api::ImageLabel> labels = classifier->classify(Path{file}, args.top);
    if (args.json) {
      Json rows = Json::array();
      for (const api::ImageLabel& label : labels) rows.push_back(label.to_json());
      std::printf("%s\n", Json::object({{"file", file}, {"labels", rows}}).dump().c_str());
      continue;
    }
    if (args.files.size() > 1) std::printf("%s\n", file.c_str());
    for (const api::ImageLabel& label : labels)
      std::printf("%.3f  %s\n", label.probability, label.label.c_str());
  }
  return 0;
}

}  // namespace plait::cli
