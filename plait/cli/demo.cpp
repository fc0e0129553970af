#include <ATen/ATen.h>

#include <chrono>
#include <cstdio>
#include <filesystem>

#include "plait/api/model_card.h"
#include "plait/api/recipe.h"
#include "plait/api/report.h"
#include "plait/cli/commands.h"
#include "plait/cli/stages.h"
#include "plait/cli/terminal.h"
#include "plait/core/disk_feature_store.h"
#include "plait/core/file.h"
#include "plait/data/audio/audio.h"
#include "plait/data/image/image.h"
#include "plait/data/packages/cache.h"
#include "plait/train/metrics.h"

namespace plait::cli {
namespace {

namespace fs = std::filesystem;

/// A few test items of different classes, spread over the split.
std::vector<size_t> pick_items(const std::vector<Sample>& samples, const std::string& task,
                               size_t count) {
  std::vector<size_t> out;
  std::map<std::string, size_t> seen;
  for (size_t limit = 1; out.size() < count && limit <= samples.size(); ++limit) {
    for (size_t i = 0; i < samples.size() && out.size() < count; i += 1) {
      size_t index = (i * 37) % samples.size();
      auto label = samples[index].labels.find(task);
      if (label == samples[index].labels.end()) continue;
      if (std::find(out.begin(), out.end(), index) != out.end()) continue;
      if (seen[label->second.as_string()] >= limit) continue;
      ++seen[label->second.as_string()];
      out.push_back(index);
    }
  }
  return out;
}

std::string picture_of(const Value& value) {
  at::Tensor image = std::get<at::Tensor>(data::decode(value, Modality::kImage, "report"));
  int64_t longest = std::max(image.size(0), image.size(1));
  if (longest > 160) {
    image = data::resize_image(image, std::max<int64_t>(1, image.size(0) * 160 / longest),
                               std::max<int64_t>(1, image.size(1) * 160 / longest),
                               data::Resample::kBilinear);
  }
  return api::data_uri("image/png", data::encode_png(image));
}

std::string sound_of(const Value& value) {
  auto wave = std::get<Waveform>(data::decode(value, Modality::kAudio, "report"));
  wave = data::convert_waveform(wave, "report", {.sample_rate = 16000});
  return api::data_uri("audio/wav", data::encode_wav(wave));
}

/// Shows a sample to the model under one condition and keeps what it said.
api::ReportRow ask(api::MultimodalModel& model, const Sample& shown, const std::string& condition,
                   const std::string& note, const std::string& truth) {
  api::PredictOptions options;
  options.explain = model.trust(model.network().task_names().front()) != nullptr;
  api::Prediction p = model.predict(shown.streams, options);
  api::ReportRow row;
  row.condition = condition;
  row.note = note;
  row.label = p.label;
  row.confidence = p.confidence;
  row.right = p.label == truth;
  row.abstain = p.abstain;
  row.prediction_set = p.prediction_set;
  row.weights = p.modality_weights;
  row.quality = p.quality;
  if (p.explanation) {
    row.doubts = p.explain().summary();
    for (const auto& [name, stream] : p.explain().streams) {
      if (stream.present) row.contributions[name] = stream.contribution;
    }
  }
  for (const auto& [name, value] : shown.streams) {
    switch (model.network().modality(name)) {
      case Modality::kText:
        row.text = std::get<std::string>(data::decode(value, Modality::kText, "report"));
        if (row.text.find_first_not_of(' ') == std::string::npos) row.text = "(nothing left)";
        break;
      case Modality::kImage: row.picture = picture_of(value); break;
      case Modality::kAudio: row.sound = sound_of(value); break;
      default: break;
    }
  }
  return row;
}

std::string weights_text(const std::vector<std::string>& streams,
                         const std::map<std::string, double>& weights) {
  std::string out;
  for (const std::string& s : streams) {
    auto it = weights.find(s);
    out += (out.empty() ? "" : "  ") + s +
           format(" %2.0f %%", 100 * (it == weights.end() ? 0 : it->second));
  }
  return out;
}

/// The items of the report under: all inputs, one missing, one damaged.
std::vector<api::ReportItem> show_items(api::MultimodalModel& model, const api::Recipe& recipe,
                                        const data::DatasetSplits& splits,
                                        const api::DamagePlan& plan) {
  std::vector<api::ReportItem> out;
  size_t turn = 0;
  for (size_t index : pick_items(splits.test, recipe.task, 9)) {
    const Sample& sample = splits.test[index];
    api::ReportItem item;
    item.truth = sample.labels.at(recipe.task).as_string();
    auto caption = sample.streams.find("text");
    item.id = caption == sample.streams.end() ? sample.id : std::get<std::string>(caption->second);
    item.rows.push_back(ask(model, sample, "all inputs", "as recorded", item.truth));
    std::vector<std::string> present;
    for (const auto& [name, value] : sample.streams) present.push_back(name);
    const std::string& gone = present[turn % present.size()];
    Sample without = sample;
    without.streams.erase(gone);
    item.rows.push_back(ask(model, without, "one missing", "no " + gone, item.truth));
    const std::string& hurt = present[(turn + 1) % present.size()];
    Modality modality = model.network().modality(hurt);
    api::Damage damage = api::draw_damage(plan, modality, hurt, splits.test, index);
    Sample damaged = sample;
    damaged.streams[hurt] = api::damaged_value(splits.test, index, hurt, modality, plan);
    std::string what = damage.kind == "wrong" ? "the " + hurt + " of another item"
                                              : hurt + ": " + damage.kind +
                                                    format(" (severity %.1f)", damage.severity);
    item.rows.push_back(ask(model, damaged, "one damaged", what, item.truth));
    out.push_back(std::move(item));
    ++turn;
  }
  return out;
}

void print_items(const std::vector<std::string>& streams,
                 const std::vector<api::ReportItem>& items) {
  std::vector<std::vector<std::string>> rows;
  for (const api::ReportItem& item : items) {
    for (const api::ReportRow& row : item.rows) {
      std::string name = &row == &item.rows.front() ? item.id.substr(0, 30) : "";
      rows.push_back({name, row.condition, row.note.substr(0, 40),
                      (row.right ? "✓ " : "✗ ") + row.label,
                      format("%.0f %%", 100 * row.confidence), weights_text(streams, row.weights)});
    }
  }
  print_table(
      {"held-out item", "condition", "what was done", "prediction", "confidence", "weights"}, rows);
}

at::Tensor join_probabilities(const std::vector<api::ConditionResult>& results,
                              const std::string& prefix) {
  std::vector<at::Tensor> parts;
  for (const auto& r : results) {
    if (r.name.rfind(prefix, 0) == 0) parts.push_back(r.probabilities);
  }
  return at::cat(parts);
}

}  // namespace

int demo(const DemoArgs& args) {
  auto start = std::chrono::steady_clock::now();
  auto seconds = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  api::Recipe recipe = api::stamps_recipe();
  recipe.seed = args.seed;
  fs::create_directories(args.output);

  Stages stages;
  data::DatasetSplits splits =
      data::load_dataset(recipe.dataset, {}, stages.fetch("Data: " + recipe.dataset));
  auto model = api::build_model(recipe, splits, stages.callback());
  DiskFeatureStore store(data::cache_dir() + "/features");
  api::RecipeData prepared =
      api::prepare_features(*model, recipe, splits, &store, stages.callback());
  train::TrainResult trained = api::train_model(*model, recipe, prepared, "", stages.callback());

  const auto& streams = model->network().stream_names();
  auto results = api::evaluate_conditions(
      model->network(), recipe.task, *prepared.test, api::standard_conditions(streams),
      model->calibration().at(recipe.task), model->trust(recipe.task).get());
  Json figures = api::to_json(results);
  model->set_version("demo-" + std::to_string(args.seed));
  model->set_card(api::make_card(*model, recipe, splits.info, figures));
  model->save_pretrained(args.output + "/model");
  std::vector<api::ReportItem> items = show_items(*model, recipe, splits, prepared.test_plan);
  stages.finish();

  at::Tensor target = prepared.test->targets().at(recipe.task);
  auto clean_bins = train::reliability_bins(join_probabilities(results, "all"), target);
  at::Tensor damaged = join_probabilities(results, "damaged_");
  at::Tensor damaged_target = target.repeat({damaged.size(0) / target.size(0)});
  double total = seconds();

  Json summary = figures;
  summary["ece_by_condition"] = figures.at("ece");
  summary["ece"] = figures.at("ece").at("all");
  summary["seconds"] = total;
  summary["seed"] = args.seed;
  summary["items"] = Json::object({{"train", splits.train.size()},
                                   {"validation", splits.validation.size()},
                                   {"test", splits.test.size()}});
  summary["fusion"] = model->config().at("fusion").get("type", "");
  summary["training_steps"] = trained.steps;
  summary["parameters_trained"] = model->network().parameter_count();
  summary["reliability"] = train::to_json(clean_bins);
  summary.write(args.output + "/summary.json");

  api::Report report;
  report.title = "Plait: pictures, captions and speech, any of them missing or damaged";
  report.streams = streams;
  for (const auto& r : results) report.conditions.push_back({r.name, r.metrics, r.weights});
  report.reliability = clean_bins;
  report.reliability_damaged = train::reliability_bins(damaged, damaged_target);
  report.items = items;
  report.facts = {
      {"accuracy, all inputs", format("%.1f %%", 100 * results.front().metrics.at("accuracy"))},
      {"calibration error", format("%.1f %%", 100 * results.front().metrics.at("ece"))},
      {"training items", std::to_string(splits.train.size())},
      {"held-out items", std::to_string(splits.test.size())},
      {"fusion", model->config().at("fusion").get("type", "")},
      {"seconds", format("%.0f", total)}};
  report.footer = "Data: " + splits.info.name + " (" + splits.info.licence +
                  "). Captions in the test split never occur in training. "
                  "Damage severities are drawn from " +
                  format("%.1f", recipe.test_severity) + " to 1; seed " +
                  std::to_string(args.seed) + ".";
  write_file_atomic(args.output + "/report.html", api::render_html(report));

  if (args.json) {
    std::printf("%s\n", summary.dump().c_str());
    return 0;
  }
  print_items(streams, items);
  std::printf("\n");
  std::vector<std::vector<std::string>> rows;
  for (const auto& r : results) {
    rows.push_back({r.name, format("%.1f", 100 * r.metrics.at("accuracy")),
                    format("%.1f", 100 * r.metrics.at("ece")), weights_text(streams, r.weights)});
  }
  print_table({"condition (" + std::to_string(splits.test.size()) + " held-out items)",
               "accuracy %", "ECE %", "mean weights"},
              rows);
  std::printf("\nModel    %s\nSummary  %s\nReport   %s   (open it in a browser)\nTook     %.0f s\n",
              fs::absolute(args.output + "/model").c_str(),
              fs::absolute(args.output + "/summary.json").c_str(),
              fs::absolute(args.output + "/report.html").c_str(), total);
  return 0;
}

}  // namespace plait::cli
