#include <algorithm>
#include <sstream>

#include "plait/api/multi_view_study.h"
#include "plait/cli/bench_result.h"
#include "plait/cli/commands.h"
#include "plait/cli/stages.h"
#include "plait/core/device.h"
#include "plait/core/parallel.h"

namespace plait::cli {
namespace {

/// Columns in the order in which they are read, best left.
const std::vector<std::string> kMethods = {"trust",
                                           "oracle",
                                           "mean_of_probabilities",
                                           "robust_product",
                                           "tempered_product",
                                           "product",
                                           "best_single",
                                           "concatenation_dropout",
                                           "qmf",
                                           "pdf",
                                           "tmc"};

std::string percent(const Json& cell) {
  char text[64];
  std::snprintf(text, sizeof text, "%.1f ± %.1f (%.1f)", 100 * cell.at("mean").as_double(),
                100 * cell.at("sd").as_double(), 100 * cell.at("worst").as_double());
  return text;
}

std::string table(const Json& result, const std::string& metric) {
  std::ostringstream out;
  const Json& methods = result.at("methods");
  std::vector<std::string> names;
  for (const std::string& name : kMethods) {
    if (methods.contains(name)) names.push_back(name);
  }
  for (const auto& [name, value] : methods.members()) {
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  out << "| condition |";
  for (const std::string& name : names) out << " " << name << " |";
  out << "\n|---|";
  for (size_t i = 0; i < names.size(); ++i) out << "---|";
  out << "\n";
  for (const Json& condition : result.at("conditions").items()) {
    out << "| " << condition.as_string() << " |";
    for (const std::string& name : names)
      out << " " << percent(methods.at(name).at(metric).at(condition.as_string())) << " |";
    out << "\n";
  }
  return out.str();
}

std::string markdown(const Json& result) {
  std::ostringstream out;
  out << "# Trust fusion on damaged views\n\nMade by `plait bench views --dataset "
      << result.get("dataset", "") << " --seeds " << result.at("seeds").size() << "`. Real data ("
      << result.get("dataset", "") << ", " << result.get("licence", "")
      << "): " << result.get("train_items", 0) << " training and " << result.get("test_items", 0)
      << " held-out items, another split per seed; the damage is synthetic. The trust fusion, the "
         "oracle, which knows which views are hit, and the static fusions use the same experts, "
         "one per view; concatenation (with modality dropout), QMF, PDF and TMC are trained on the "
         "same clean items with the same budget. noise_δ: Gaussian noise of δ times each feature's "
         "range, on half of the views of half of the items; swapped: these views are another "
         "item's, of another class; dropped_features: half of their features become the mean; "
         "missing_r: r views of every item are absent. In %, mean ± standard deviation (worst "
         "seed).\n\n## Accuracy\n\n"
      << table(result, "accuracy")
      << "\n## Expected calibration error (15 bins)\n\nHere the worst seed is the largest "
         "error.\n\n"
      << table(result, "ece");
  return out.str();
}

}  // namespace

int bench_views(const BenchViewsArgs& args) {
  Stages stages;
  data::DatasetOptions options;
  options.validation = 0.0;  // Everything is chosen out of fold
  std::vector<api::MultiViewSplits> splits;
  Json result = Json::object({{"dataset", args.dataset},
                              {"cpu", describe_devices().at("cpu").at("model")},
                              {"seeds", Json::array()}});
  for (long seed = args.first_seed; seed < args.first_seed + args.seeds; ++seed) {
    options.seed = seed;
    data::DatasetSplits loaded =
        data::load_dataset(args.dataset, options, stages.fetch("Data: " + args.dataset));
    splits.push_back(api::multi_view_splits(loaded));
    result["licence"] = loaded.info.licence;
    result["train_items"] = loaded.train.size();
    result["test_items"] = loaded.test.size();
    result["seeds"].push_back(seed);
  }
  std::vector<Json> studies(splits.size());
  auto report = [&](size_t done) {
    stages.callback()("seeds", static_cast<double>(done), static_cast<double>(splits.size()), "");
  };
  report(0);
  for_each_in_parallel(
      splits.size(),
      [&](size_t i) {
        train::TrustOptions trust;
        trust.seed = static_cast<uint64_t>(args.first_seed) + i;
        studies[i] = api::run_multi_view_study(splits[i], trust);
      },
      report);
  stages.finish();

  result["conditions"] = Json::array();
  for (const auto& [condition, metrics] : studies.front().at("trust").members())
    result["conditions"].push_back(condition);
  for (const auto& [method, conditions] : studies.front().members()) {
    for (const auto& [condition, metrics] : conditions.members()) {
      for (const auto& [metric, value] : metrics.members()) {
        std::vector<double> values;
        for (const Json& study : studies)
          values.push_back(study.at(method).at(condition).at(metric).as_double());
        const bool high_is_good = metric == "accuracy";
        result["methods"][method][metric][condition] = to_json(spread_of(values, high_is_good));
      }
    }
  }
  write_result(result, markdown(result), args.output, args.dataset, args.json);
  return 0;
}

}  // namespace plait::cli
