#include <cstdio>
#include <filesystem>

#include "plait/api/picture_generator.h"
#include "plait/cli/commands.h"
#include "plait/cli/stages.h"
#include "plait/cli/terminal.h"
#include "plait/core/error.h"
#include "plait/core/file.h"
#include "plait/data/image/image.h"

namespace plait::cli {
namespace {

/// "out.png" for one picture, "out-1.png", "out-2.png" ... for several.
std::string numbered(const std::string& path, size_t index, size_t count) {
  if (count == 1) return path;
  const std::filesystem::path whole(path);
  const std::string name =
      whole.stem().string() + "-" + std::to_string(index + 1) + whole.extension().string();
  return (whole.parent_path() / name).string();
}

std::string encode(const at::Tensor& picture, const std::string& path) {
  const bool jpeg = path.ends_with(".jpg") || path.ends_with(".jpeg");
  return jpeg ? data::encode_jpeg(picture) : data::encode_png(picture);
}

}  // namespace

int draw(const DrawArgs& args) {
  if (!args.output.ends_with(".png") && !args.output.ends_with(".jpg") &&
      !args.output.ends_with(".jpeg"))
    fail(ErrorCode::kInvalidArgument, "draw",
         "expected an output ending in .png, .jpg or .jpeg, got " + args.output);
  api::ModelOptions how;
  how.backend = args.backend;
  how.dtype = args.dtype;
  Stages stages;
  auto generator =
      api::PictureGenerator::from_pretrained(args.model, how, stages.fetch("Model: " + args.model));
  stages.finish();

  Json given = Json::object({{"negative_prompt", args.negative}, {"sampler", args.scheduler}});
  for (const auto& [name, value] : args.numbers) given[name] = value;
  for (const auto& [name, value] : args.integers) given[name] = static_cast<int64_t>(value);
  const api::PictureOptions options = api::PictureOptions::from_json(given);
  api::PictureInputs inputs;
  if (!args.image.empty()) inputs.image = Path{args.image};
  if (!args.mask.empty()) inputs.mask = Path{args.mask};

  ProgressBar bar("Drawing");
  api::DrawnPictures made =
      generator->draw(args.prompt, options, inputs, [&](const runtime::DiffusionStep& step) {
        bar.update(static_cast<double>(step.step), static_cast<double>(step.total));
        return true;
      });
  bar.finish();
  Json files = Json::array();
  for (size_t i = 0; i < made.pictures.size(); ++i) {
    const std::string path = numbered(args.output, i, made.pictures.size());
    write_file_atomic(path, encode(made.pictures[i], path));
    files.push_back(path);
    if (!args.json) std::printf("%s\n", path.c_str());
  }
  if (args.json) {
    std::printf("%s\n",
                Json::object({{"files", files}, {"steps", made.steps}, {"seconds", made.seconds}})
                    .dump()
                    .c_str());
  }
  return 0;
}

}  // namespace plait::cli
