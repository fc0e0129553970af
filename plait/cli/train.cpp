#include <cstdio>
#include <filesystem>

#include "plait/api/recipe.h"
#include "plait/cli/commands.h"
#include "plait/cli/stages.h"
#include "plait/cli/terminal.h"
#include "plait/core/disk_feature_store.h"
#include "plait/core/error.h"

namespace plait::cli {
namespace {

void print_conditions(const std::vector<api::ConditionResult>& results) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& r : results) {
    std::vector<std::string> row = {r.name, format("%.1f", 100 * r.metrics.at("accuracy")), format("%.1f", 100 * r.metrics.at("ece")),
                                    format("%.3f", r.metrics.at("nll"))};
    std::string weights;
    for (const auto& [stream, w] : r.weights) weights += stream + format(" %.0f %%  ", 100 * w);
    row.push_back(weights);
    rows.push_back(std::move(row));
  }
  print_table({"condition", "accuracy %", "ECE %", "NLL", "mean weights"}, rows);
}

}  // namespace

int train(const TrainArgs& args) {
  api::Recipe recipe = api::Recipe::read(args.recipe);
  if (args.seed >= 0) recipe.seed = args.seed;
  std::filesystem::create_directories(args.output);
  Stages stages;
  data::DatasetSplits splits = data::load_dataset(recipe.dataset, {.seed = recipe.split_seed}, stages.fetch("Data: " + recipe.dataset));
  auto model = api::build_model(recipe, splits, stages.callback());
  DiskFeatureStore store(data::cache_dir() + "/features");
  api::RecipeData prepared = api::prepare_features(*model, recipe, splits, &store, stages.callback());
  train::TrainResult result = api::train_model(*model, recipe, prepared, args.output, stages.callback(), args.resume);
  auto results = api::evaluate_conditions(model->network(), recipe.task, *prepared.test,
                                          api::standard_conditions(model->network().stream_names()), model->calibration().at(recipe.task));
  Json figures = api::to_json(results);
  model->set_version(std::filesystem::path(args.output).filename().string() + "-" + std::to_string(recipe.seed));
  model->set_card(api::make_card(*model, recipe, splits.info, figures));
  model->save_pretrained(args.output + "/model");
  figures["training"] = result.to_json();
  figures.write(args.output + "/figures.json");
  stages.finish();
  if (args.json) {
    std::printf("%s\n", figures.dump().c_str());
    return 0;
  }
  print_conditions(results);
  std::printf("\n%lld steps in %.0f s; model in %s/model\n", static_cast<long long>(result.steps), result.seconds, args.output.c_str());
  return 0;
}

int eval(const EvalArgs& args) {
  api::ModelOptions options;
  options.backend = args.backend;
  auto model = api::MultimodalModel::from_pretrained(args.model, options);
  std::string task = args.task.empty() ? model->network().task_names().front() : args.task;
  Stages stages;
  data::DatasetSplits splits = data::load_dataset(args.dataset, {}, stages.fetch("Data: " + args.dataset));
  const std::vector<Sample>* samples = args.split == "train" ? &splits.train : args.split == "validation" ? &splits.validation
                                       : args.split == "test" ? &splits.test : nullptr;
  if (!samples) fail(ErrorCode::kInvalidArgument, "eval", "expected a split train, validation or test, got \"" + args.split + "\"");
  api::Recipe recipe;
  DiskFeatureStore store(data::cache_dir() + "/features");
  auto dataset = api::prepare_split(*model, *samples, api::test_damage(recipe), &store, stages.callback());
  const Json* calibration = model->calibration().find(task);
  auto results = api::evaluate_conditions(model->network(), task, *dataset, api::standard_conditions(model->network().stream_names()),
                                          calibration ? *calibration : Json());
  stages.finish();
  if (args.json) {
    std::printf("%s\n", api::to_json(results).dump().c_str());
  } else {
    print_conditions(results);
  }
  return 0;
}

}  // namespace plait::cli
