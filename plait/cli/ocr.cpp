#include <cstdio>
#include <fstream>

#include "plait/api/ocr_reader.h"
#include "plait/cli/commands.h"
#include "plait/cli/stages.h"
#include "plait/cli/terminal.h"
#include "plait/core/error.h"
#include "plait/data/decode.h"

namespace plait::cli {
namespace {

void draw(const std::string& file, const std::vector<api::OcrLine>& lines,
          const std::string& output) {
  at::Tensor picture = data::decode_image_value(Path{file}, "image").contiguous();
  const auto* bytes = picture.const_data_ptr<uint8_t>();
  data::RawImage canvas{picture.size(1), picture.size(0), 3, {bytes, bytes + picture.numel()}};
  std::vector<data::Quad> boxes;
  for (const api::OcrLine& line : lines) boxes.push_back(line.box);
  data::draw_quads(canvas, boxes);
  std::string png =
      data::encode_pixels(canvas.pixels.data(), canvas.width, canvas.height, ".png", 0);
  std::ofstream out(output, std::ios::binary);
  out.write(png.data(), static_cast<std::streamsize>(png.size()));
  out.close();
  if (!out) fail(ErrorCode::kIo, "ocr", "cannot write " + output);
}

}  // namespace

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
    if (!args.draw.empty()) draw(file, lines, args.draw);
  }
  return 0;
}

}  // namespace plait::cli
