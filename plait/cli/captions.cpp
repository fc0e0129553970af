#include <cstdio>

#include "plait/api/caption_recipe.h"
#include "plait/api/captioner.h"
#include "plait/cli/commands.h"
#include "plait/cli/stages.h"
#include "plait/cli/terminal.h"
#include "plait/core/error.h"
#include "plait/models/convert/merge_adapter.h"

namespace plait::cli {
namespace {

std::shared_ptr<api::Captioner> load(const CaptionArgs& args) {
  api::ModelOptions how;
  how.backend = args.backend;
  how.dtype = args.dtype;
  Stages stages;
  auto model =
      api::Captioner::from_pretrained(args.model, how, stages.fetch("Model: " + args.model));
  stages.finish();
  return model;
}

api::TextOptions options_of(const CaptionArgs& args) {
  return api::TextOptions::from_json(
      Json::object({{"max_new_tokens", static_cast<int64_t>(args.max_new_tokens)},
                    {"num_beams", static_cast<int64_t>(args.num_beams)},
                    {"temperature", args.temperature},
                    {"seed", static_cast<int64_t>(args.seed)}}));
}

void show(const std::string& file, const api::GeneratedText& made, const CaptionArgs& args) {
  if (args.json) {
    Json row = made.to_json();
    row["file"] = file;
    std::printf("%s\n", row.dump().c_str());
  } else if (args.files.size() > 1) {
    std::printf("%s\t%s\n", file.c_str(), made.text.c_str());
  } else {
    std::printf("%s\n", made.text.c_str());
  }
  std::fflush(stdout);
}

}  // namespace

int caption(const CaptionArgs& args) {
  auto model = load(args);
  for (const std::string& file : args.files)
    show(file, model->caption(Path{file}, args.language, options_of(args)), args);
  return 0;
}

int ask(const CaptionArgs& args) {
  auto model = load(args);
  for (const std::string& file : args.files)
    show(file, model->ask(Path{file}, args.question, options_of(args)), args);
  return 0;
}

int train_captioner(const TrainCaptionerArgs& args) {
  Json given = args.recipe.empty() ? Json::object({}) : Json::read(args.recipe, 1 << 20);
  for (const auto& [name, value] : args.sizes) given[name] = static_cast<int64_t>(value);
  if (!args.data.empty()) given["data"] = Json(args.data);
  const auto recipe = read_config<api::CaptionRecipe>(given, "recipe");
  Stages stages;
  const Json report = api::train_captioner(recipe, args.output, args.resume, stages.callback());
  stages.finish();
  if (args.json) {
    std::printf("%s\n", report.dump().c_str());
    return 0;
  }
  std::vector<std::vector<std::string>> rows;
  for (const auto& [name, result] : report.at("results").members()) {
    std::vector<std::string> row = {name, result.at("measure").as_string(),
                                    std::to_string(result.at("items").as_int())};
    for (const auto& [system, score] : result.at("scores").members()) {
      std::string cell = format("%.3f", score.as_double());
      if (const Json* against = result.find("against"); against && against->contains(system))
        cell += format(" (p %.4f)", against->at(system).at("p").as_double());
      row.push_back(std::move(cell));
    }
    rows.push_back(std::move(row));
  }
  std::vector<std::string> head = {"held-out texts", "measure", "items", "model", "retrieval"};
  if (recipe.without_picture) head.emplace_back("without the picture");
  print_table(head, rows);
  std::printf("\n%s/model: plait caption PICTURE --model %s/model\n", args.output.c_str(),
              args.output.c_str());
  return 0;
}

int lora_merge(const LoraMergeArgs& args) {
  const Json done = models::merge_adapter(args.base, args.adapter, args.destination);
  if (args.json) {
    std::printf("%s\n", done.dump().c_str());
  } else {
    std::printf("%s: %lld layers of rank %lld merged\n", args.destination.c_str(),
                static_cast<long long>(done.at("tensors").as_int()),
                static_cast<long long>(done.at("rank").as_int()));
  }
  return 0;
}

}  // namespace plait::cli
