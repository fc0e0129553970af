#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <sstream>

#include "plait/api/recipe.h"
#include "plait/cli/bench_result.h"
#include "plait/cli/commands.h"
#include "plait/cli/stages.h"
#include "plait/cli/terminal.h"
#include "plait/core/device.h"
#include "plait/core/disk_feature_store.h"

namespace plait::cli {
namespace {

/// What is compared: a name, and the recipe that differs from the others in the fusion layer or the
/// streams alone.
struct Method {
  std::string name;
  api::Recipe recipe;
  std::string only;  ///< The stream of a single-stream baseline
};

std::vector<Method> methods_of(const api::Recipe& recipe) {
  std::vector<Method> out;
  for (const auto& [stream, config] : recipe.model.at("streams").members()) {
    out.push_back(
        {"only_" + stream,
         api::with_fusion(api::with_only(recipe, stream), Json::object({{"type", "mean"}})),
         stream});
  }
  for (const char* type : {"concatenation", "mean", "product", "dma", "drg", "modality_attention",
                           "bridge", "progressive"}) {
    out.push_back({type, api::with_fusion(recipe, Json::object({{"type", type}})), ""});
  }
  return out;
}

/// The recipe's data with just one stream.
api::RecipeData only_stream(const api::RecipeData& data, const std::string& stream) {
  api::RecipeData out = data;
  out.train = data.train->fix({}, {}, {stream});
  out.validation = data.validation->fix({}, {}, {stream});
  out.test = data.test->fix({}, {}, {stream});
  return out;
}

/// Milliseconds of the encoders and of everything after them for one item, medians over `rounds`
/// interleaved rounds.
Json gate_overhead(api::MultimodalModel& model, const std::vector<Sample>& samples, int rounds) {
  at::NoGradGuard no_grad;
  std::vector<double> encode, fuse;
  for (int r = 0; r < rounds; ++r) {
    Batch batch = model.prepare({samples[static_cast<size_t>(r) % samples.size()]});
    auto t0 = std::chrono::steady_clock::now();
    std::map<std::string, models::EncoderOutput> encoded;
    for (const auto& [name, stream] : batch.streams)
      encoded[name] = model.network().encode(name, stream);
    auto t1 = std::chrono::steady_clock::now();
    at::Tensor present = batch.presence(model.network().stream_names());
    model.network().decode(encoded, present, present.to(at::kFloat));
    auto t2 = std::chrono::steady_clock::now();
    encode.push_back(std::chrono::duration<double, std::milli>(t1 - t0).count());
    fuse.push_back(std::chrono::duration<double, std::milli>(t2 - t1).count());
  }
  auto median = [](std::vector<double> v) {
    std::nth_element(v.begin(), v.begin() + static_cast<long>(v.size() / 2), v.end());
    return v[v.size() / 2];
  };
  double e = median(encode), f = median(fuse);
  return Json::object({{"encoders_ms", e},
                       {"fusion_and_heads_ms", f},
                       {"share", f / (e + f)},
                       {"rounds", rounds},
                       {"threads", threads()}});
}

std::string markdown(const Json& result) {
  std::ostringstream out;
  out << "# Fusion on Tux Paint stamps\n\nMade by `plait bench fusion --seeds "
      << result.at("seeds").size() << "`. Real data (" << result.get("dataset", "") << ", "
      << result.get("licence", "") << "): " << result.get("train_items", 0) << " training and "
      << result.get("test_items", 0)
      << " held-out items, split by caption, another split per seed. Every method gets the same "
         "frozen "
         "features, damaged copies, modality dropout, steps and learning rate; damage at test time "
         "has a severity from 0.5 to 1. Accuracy "
         "in %, mean ± standard deviation over seeds.\n\n";
  const Json& methods = result.at("methods");
  std::vector<std::string> conditions;
  for (const auto& [name, value] : methods.at("mean").at("accuracy").members())
    conditions.push_back(name);
  auto table = [&](const char* metric, const char* title, double scale) {
    out << "## " << title << "\n\n| method |";
    for (const auto& c : conditions) out << " " << c << " |";
    out << "\n|---|";
    for (size_t i = 0; i < conditions.size(); ++i) out << "---|";
    out << "\n";
    for (const auto& [name, m] : methods.members()) {
      out << "| " << name << " |";
      for (const auto& c : conditions) {
        const Json* cell = m.at(metric).find(c);
        if (!cell) {
          out << " |";
          continue;
        }
        out << " " << format("%.1f", scale * cell->at("mean").as_double()) << " ± "
            << format("%.1f", scale * cell->at("sd").as_double()) << " |";
      }
      out << "\n";
    }
    out << "\n";
  };
  table("accuracy", "Accuracy", 100);
  table("ece",
        "Expected calibration error (15 bins, in points; with this few items even a calibrated "
        "model has one)",
        100);
  out << "## Mean weights\n\n| method | condition | weights |\n|---|---|---|\n";
  for (const auto& [name, m] : methods.members()) {
    for (const auto& [condition, weights] : m.at("weights").members()) {
      if (weights.size() < 2) continue;
      out << "| " << name << " | " << condition << " |";
      for (const auto& [stream, w] : weights.members())
        out << " " << stream << format(" %.2f", w.as_double());
      out << " |\n";
    }
  }
  out << "\n## Time of the gate\n\n| fusion | encoders ms | fusion and heads ms | share "
         "|\n|---|---|---|---|\n";
  for (const auto& [name, m] : methods.members()) {
    const Json* o = m.find("overhead");
    if (!o) continue;
    out << "| " << name << " | " << format("%.1f", o->at("encoders_ms").as_double()) << " | "
        << format("%.2f", o->at("fusion_and_heads_ms").as_double()) << " | "
        << format("%.1f %%", 100 * o->at("share").as_double()) << " |\n";
  }
  out << "\nOne item, " << result.get("threads", 1) << " threads, " << result.get("cpu", "")
      << ".\n";
  return out.str();
}

}  // namespace

int bench_fusion(const BenchFusionArgs& args) {
  api::Recipe recipe = api::Recipe::read(args.recipe);
  Stages stages;
  DiskFeatureStore store(data::cache_dir() + "/features");
  Json result = Json::object({{"dataset", recipe.dataset},
                              {"cpu", describe_devices().at("cpu").at("model")},
                              {"threads", threads()}});
  std::map<std::string, std::map<std::string, std::map<std::string, std::vector<double>>>>
      figures;  // method, metric, condition
  std::map<std::string, std::map<std::string, std::map<std::string, std::vector<double>>>>
      weights;  // method, condition, stream
  std::map<std::string, Json> overheads;
  std::vector<Method> methods = methods_of(recipe);
  for (int64_t seed = 0; seed < args.seeds; ++seed) {
    recipe.seed = recipe.split_seed = seed;
    data::DatasetSplits splits =
        data::load_dataset(recipe.dataset, {.streams = recipe.streams, .seed = seed},
                           stages.fetch("Data: " + recipe.dataset));
    auto encoder_model = api::build_model(recipe, splits, stages.callback());
    api::RecipeData data =
        api::prepare_features(*encoder_model, recipe, splits, &store, stages.callback());
    result["licence"] = splits.info.licence;
    result["train_items"] = splits.train.size();
    result["test_items"] = splits.test.size();
    result["seeds"].push_back(seed);
    for (size_t k = 0; k < methods.size(); ++k) {
      Method& method = methods[k];
      stages.callback()("seed " + std::to_string(seed), static_cast<double>(k),
                        static_cast<double>(methods.size()), method.name);
      method.recipe.seed = seed;
      method.recipe.trust = false;
      auto model = api::build_model(method.recipe, splits);
      api::RecipeData own = method.only.empty() ? data : only_stream(data, method.only);
      api::train_model(*model, method.recipe, own, "");
      const auto& names = model->network().stream_names();
      auto conditions = api::standard_conditions(names);
      if (!method.only.empty())
        conditions = {{"all", {}, {}, {}}, {"damaged_" + method.only, {{method.only, 1}}, {}, {}}};
      for (const auto& r :
           api::evaluate_conditions(model->network(), recipe.task, *own.test, conditions,
                                    model->calibration().at(recipe.task))) {
        for (const char* metric : {"accuracy", "ece", "nll", "brier", "aurc"})
          figures[method.name][metric][r.name].push_back(r.metrics.at(metric));
        for (const auto& [stream, w] : r.weights) weights[method.name][r.name][stream].push_back(w);
      }
      if (seed == 0 && method.only.empty())
        overheads[method.name] = gate_overhead(*model, splits.test, args.rounds);
    }
  }
  stages.finish();
  for (const auto& method : methods) {
    Json& row = result["methods"][method.name];
    for (const auto& [metric, conditions] : figures.at(method.name)) {
      for (const auto& [condition, values] : conditions) {
        row[metric][condition] = to_json(spread_of(values, metric == "accuracy"));
      }
    }
    for (const auto& [condition, streams] : weights.at(method.name)) {
      for (const auto& [stream, values] : streams)
        row["weights"][condition][stream] = spread_of(values).mean;
    }
    if (overheads.count(method.name)) row["overhead"] = overheads.at(method.name);
  }
  write_result(result, markdown(result), args.output, recipe.dataset, args.json);
  return 0;
}

}  // namespace plait::cli
