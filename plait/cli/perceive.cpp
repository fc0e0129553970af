#include <cstdio>

#include "plait/api/perception.h"
#include "plait/cli/commands.h"
#include "plait/cli/stages.h"
#include "plait/cli/terminal.h"
#include "plait/core/error.h"

namespace plait::cli {

int perceive(const PerceiveArgs& args) {
  require(!args.audio.empty() || !args.image.empty(), "perceive",
          "expected --audio, --image or both");
  api::PerceptionOptions options;
  options.speech_model = args.speech_model;
  options.ocr_model = args.ocr_model;
  options.object_model = args.object_model;
  options.transcribe.language = args.language;
  options.model.backend = args.backend;
  Stages stages;
  options.transcribe.progress = [&](double done, double total) {
    stages.show("Listening", done, total, format("%.0f s", done) + format(" of %.0f s", total));
  };
  api::Perception perception(options, stages.fetch("Models"));
  std::optional<Value> audio, image;
  if (!args.audio.empty()) audio = Path{args.audio};
  if (!args.image.empty()) image = Path{args.image};
  api::Percept seen = perception.process(audio, image);
  stages.finish();
  Json json = seen.to_json();
  if (args.json) {
    std::printf("%s\n", json.dump().c_str());
    return 0;
  }
  if (seen.speech) std::printf("Said: %s\n", json.at("text").as_string().c_str());
  if (seen.ocr) {
    std::printf("Written:%s\n", seen.ocr->empty() ? " nothing" : "");
    for (const api::OcrLine& line : *seen.ocr) std::printf("  %s\n", line.text.c_str());
  }
  if (seen.objects) {
    std::printf("Things:%s\n", seen.objects->empty() ? " none" : "");
    for (const api::DetectedObject& thing : *seen.objects) {
      std::printf("  %-16s %s  at %.0f, %.0f to %.0f, %.0f\n", thing.label.c_str(),
                  format("%3.0f %%", 100 * thing.score).c_str(), thing.box[0], thing.box[1],
                  thing.box[2], thing.box[3]);
    }
  }
  return 0;
}

}  // namespace plait::cli
