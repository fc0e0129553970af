#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "plait/api/locate.h"
#include "plait/api/model_card.h"
#include "plait/api/picture_training.h"
#include "plait/api/recipe.h"
#include "plait/api/size_encoders.h"
#include "plait/api/task_targets.h"
#include "plait/cli/commands.h"
#include "plait/cli/stages.h"
#include "plait/cli/terminal.h"
#include "plait/core/disk_feature_store.h"
#include "plait/core/error.h"

namespace plait::cli {
namespace {

/// A task of values or labels.
void print_metrics(const std::vector<api::ConditionResult>& results) {
  std::vector<std::string> head = {"condition"};
  for (const char* metric : {"rmse", "mae", "r2", "micro_f1", "exact_match", "brier", "coverage",
                             "interval_width", "undecided"}) {
    if (results.front().metrics.count(metric)) head.emplace_back(metric);
  }
  std::vector<std::vector<std::string>> rows;
  for (const auto& r : results) {
    std::vector<std::string> row = {r.name};
    for (size_t i = 1; i < head.size(); ++i) row.push_back(format("%.4g", r.metrics.at(head[i])));
    std::string weights;
    for (const auto& [stream, w] : r.weights) weights += stream + format(" %.0f %%  ", 100 * w);
    row.push_back(weights);
    rows.push_back(std::move(row));
  }
  head.emplace_back("mean weights");
  print_table(head, rows);
}

void print_conditions(const std::vector<api::ConditionResult>& results) {
  if (!results.front().metrics.count("ece")) return print_metrics(results);
  std::vector<std::vector<std::string>> rows;
  for (const auto& r : results) {
    std::vector<std::string> row = {r.name, format("%.1f", 100 * r.metrics.at("accuracy")),
                                    format("%.1f", 100 * r.metrics.at("ece")),
                                    format("%.3f", r.metrics.at("nll"))};
    std::string weights;
    for (const auto& [stream, w] : r.weights) weights += stream + format(" %.0f %%  ", 100 * w);
    row.push_back(weights);
    rows.push_back(std::move(row));
  }
  print_table({"condition", "accuracy %", "ECE %", "NLL", "mean weights"}, rows);
}

/// Recall between the streams for each retrieval task of the model.
Json retrieval_figures(api::MultimodalModel& model, train::FeatureDataset& data) {
  Json out = Json::object({});
  for (const std::string& task : model.network().task_names()) {
    if (model.network().task_config(task).get("type", "") != "retrieval") continue;
    for (const auto& [pair, metrics] : api::evaluate_retrieval(model.network(), task, data)) {
      for (const auto& [metric, value] : metrics) out[task][pair][metric] = value;
    }
  }
  return out;
}

void print_retrieval(const Json& figures) {
  for (const auto& [task, pairs] : figures.members()) {
    std::vector<std::vector<std::string>> rows;
    for (const auto& [pair, m] : pairs.members()) {
      rows.push_back({pair, format("%.1f", 100 * m.at("recall@1").as_double()),
                      format("%.1f", 100 * m.at("recall@5").as_double()),
                      format("%.1f", 100 * m.at("recall@10").as_double()),
                      format("%.3f", m.at("mrr").as_double()),
                      format("%.0f", m.at("n").as_double())});
    }
    std::printf("\n");
    print_table(
        {"retrieval (" + task + ")", "recall@1 %", "recall@5 %", "recall@10 %", "MRR", "items"},
        rows);
  }
}

void print_plan(const Json& config) {
  const auto rows = api::plan_table(config);
  if (rows.empty()) return;
  print_table(
      {"stream", "asked %", "planned %", "realised %", "M multiply-adds", "before", "changed"},
      rows);
  std::printf("\n");
}

bool has_targets(const api::MultimodalModel& model, const std::string& task) {
  const auto& names = model.network().task_names();
  return std::find(names.begin(), names.end(), task) != names.end() &&
         api::kind_of(model.network().task_config(task)) != api::TaskKind::kOther;
}

/// Of every standard condition; nothing of a task without targets.
std::vector<api::ConditionResult> evaluate_task(api::MultimodalModel& model,
                                                const std::string& task,
                                                const train::FeatureDataset& data) {
  if (!has_targets(model, task)) return {};
  const Json* calibration = model.calibration().find(task);
  return api::evaluate_conditions(model.network(), task, data,
                                  api::standard_conditions(model.network().stream_names()),
                                  calibration ? *calibration : Json(), model.trust(task).get());
}

/// A model that draws.
int train_to_draw(const TrainArgs& args) {
  api::PictureRecipe recipe = api::PictureRecipe::read(args.recipe);
  if (args.seed >= 0) recipe.seed = args.seed;
  Stages stages;
  train::TrainResult result =
      api::train_pictures(recipe, args.output, stages.callback(), args.resume, args.backend);
  stages.finish();
  if (args.json) {
    std::printf("%s\n", result.to_json().dump().c_str());
  } else {
    std::printf("%lld steps in %.0f s, loss %.4f; model in %s/model\n",
                static_cast<long long>(result.steps), result.seconds, result.train_loss,
                args.output.c_str());
  }
  return 0;
}

}  // namespace

int train(const TrainArgs& args) {
  if (api::is_picture_recipe(args.recipe)) return train_to_draw(args);
  api::Recipe recipe = api::Recipe::read(args.recipe);
  if (args.seed >= 0) recipe.seed = args.seed;
  if (!args.compute_share.empty()) recipe.compute["share"] = api::parse_shares(args.compute_share);
  if (args.compute_budget > 0) recipe.compute["multiply_adds"] = args.compute_budget;
  std::filesystem::create_directories(args.output);
  Stages stages;
  data::DatasetSplits splits =
      data::load_dataset(recipe.dataset, {.streams = recipe.streams, .seed = recipe.split_seed},
                         stages.fetch("Data: " + recipe.dataset));
  DiskFeatureStore store(data::cache_dir() + "/features");
  auto model = api::build_model(recipe, splits, stages.callback(), &store);
  if (model->config().contains("compute")) {
    // Items that the plan was not made on.
    api::note_realised_split(*model, splits.test.empty() ? splits.validation : splits.test);
    stages.finish();
    if (!args.json) print_plan(model->config());
  }
  api::RecipeData prepared =
      api::prepare_features(*model, recipe, splits, &store, stages.callback());
  train::TrainResult result =
      api::train_model(*model, recipe, prepared, args.output, stages.callback(), args.resume);
  const auto results = evaluate_task(*model, recipe.task, *prepared.test);
  Json figures = api::to_json(results);
  Json retrieval = retrieval_figures(*model, *prepared.test);
  figures["retrieval"] = retrieval;
  if (const Json* plan = model->config().find("compute")) figures["compute"] = *plan;
  model->set_version(std::filesystem::path(args.output).filename().string() + "-" +
                     std::to_string(recipe.seed));
  model->set_card(api::make_card(*model, recipe, splits.info, figures));
  model->save_pretrained(args.output + "/model");
  figures["training"] = result.to_json();
  figures.write(args.output + "/figures.json");
  stages.finish();
  if (args.json) {
    std::printf("%s\n", figures.dump().c_str());
    return 0;
  }
  if (!results.empty()) print_conditions(results);
  print_retrieval(retrieval);
  std::printf("\n%lld steps in %.0f s; model in %s/model\n", static_cast<long long>(result.steps),
              result.seconds, args.output.c_str());
  return 0;
}

int calibrate(const CalibrateArgs& args) {
  api::Recipe recipe = api::Recipe::read(args.recipe);
  if (args.seed >= 0) recipe.seed = args.seed;
  auto model = api::MultimodalModel::from_pretrained(args.model);
  Stages stages;
  data::DatasetSplits splits =
      data::load_dataset(recipe.dataset, {.streams = recipe.streams, .seed = recipe.split_seed},
                         stages.fetch("Data: " + recipe.dataset));
  DiskFeatureStore store(data::cache_dir() + "/features");
  api::RecipeData prepared =
      api::prepare_calibration(*model, recipe, std::move(splits), &store, stages.callback());
  api::calibrate_model(*model, recipe, prepared, stages.callback());
  std::vector<api::ConditionResult> results;
  if (prepared.test) results = evaluate_task(*model, recipe.task, *prepared.test);
  model->set_card(api::with_trust_section(
      api::with_figures(model->card(), recipe, api::to_json(results)), *model));
  const std::string output = args.output.empty() ? api::locate_model(args.model) : args.output;
  model->save_pretrained(output, args.half);
  stages.finish();
  if (args.json) {
    std::printf("%s\n", model->calibration().dump().c_str());
    return 0;
  }
  if (!results.empty()) print_conditions(results);
  std::printf("%s\nWritten to %s\n", api::with_trust_section("", *model).c_str(), output.c_str());
  return 0;
}

int eval(const EvalArgs& args) {
  api::ModelOptions options;
  options.backend = args.backend;
  auto model = api::MultimodalModel::from_pretrained(args.model, options);
  std::string task = args.task.empty() ? model->network().task_names().front() : args.task;
  Stages stages;
  data::DatasetSplits splits =
      data::load_dataset(args.dataset, {}, stages.fetch("Data: " + args.dataset));
  const std::vector<Sample>* samples = args.split == "train"        ? &splits.train
                                       : args.split == "validation" ? &splits.validation
                                       : args.split == "test"       ? &splits.test
                                                                    : nullptr;
  if (!samples)
    fail(ErrorCode::kInvalidArgument, "eval",
         "expected a split train, validation or test, got \"" + args.split + "\"");
  api::Recipe recipe;
  DiskFeatureStore store(data::cache_dir() + "/features");
  auto dataset =
      api::prepare_split(*model, *samples, api::test_damage(recipe), &store, stages.callback());
  const auto results = evaluate_task(*model, task, *dataset);
  Json retrieval = retrieval_figures(*model, *dataset);
  stages.finish();
  if (args.json) {
    Json figures = api::to_json(results);
    figures["retrieval"] = retrieval;
    std::printf("%s\n", figures.dump().c_str());
  } else {
    if (!results.empty()) print_conditions(results);
    print_retrieval(retrieval);
  }
  return 0;
}

}  // namespace plait::cli
