#include <cstdio>

#include "plait/api/ocr_reader.h"
#include "plait/cli/commands.h"
#include "plait/cli/pictures.h"
#include "plait/cli/stages.h"
#include "plait/core/error.h"

namespace plait::cli {
int ocr(const OcrArgs& args) {
  if (!args.draw.empty() && args.files.size() != 1)
    fail(ErrorCode::kInvalidArgument, "ocr", "expected one file with --draw");
  api::ModelOptions how;
  how.backend = args.backend;
  Stages stages;
  auto reader =
      api::OcrReader::from_pretrained(args.model, how, stages.fetch("Model: " + args.model));
  stages.finish();
  api::OcrOptions options;
  options.text_score = args.min_score;
  for (const std::string& file : args.files) {
    std::vector<api::OcrLine> lines = reader->read(Path{file}, options);
    if (args.json) {
      Json rows = Json::array();
      for (const api::OcrLine& line : lines) rows.push_back(line.to_json());
      std::printf("%s\n", Json::object({{"file", file}, {"lines", rows}}).dump().c_str());
    } else {
      if (args.files.size() > 1) std::printf("%s\n", file.c_str());
      for (const api::OcrLine& line : lines) std::printf("%s\n", line.text.c_str());
    }
    if (args.draw.empty()) continue;
    std::vector<data::Quad> boxes;
    for (const api::OcrLine& line : lines) boxes.push_back(line.box);
    draw_quads(file, boxes, {}, args.draw);
  }
  return 0;
}

}  // namespace plait::cli
