#include <algorithm>
#include <chrono>
#include <cmath>
#include <iterator>

#include "plait/api/study_data.h"
#include "plait/cli/bench_result.h"
#include "plait/cli/commands.h"
#include "plait/cli/earlier_rivals.h"
#include "plait/cli/fusion_bars.h"
#include "plait/cli/fusion_tables.h"
#include "plait/cli/size_tables.h"
#include "plait/cli/stages.h"
#include "plait/core/device.h"
#include "plait/core/error.h"
#include "plait/core/file.h"
#include "plait/core/hash.h"
#include "plait/core/parallel.h"
#include "plait/train/trust/baselines.h"

namespace plait::cli {
namespace {

using Study = api::StudyData (*)(uint64_t seed, const api::StudyProgress& progress);

struct NamedStudy {
  std::string name;
  Study make;
  bool in_short = false;
  bool sizes = false;  ///< Large enough to be fitted with few training items as well
};

const std::vector<NamedStudy>& studies() {
  static const std::vector<NamedStudy> kAll{{"handwritten", api::handwritten_study, true, true},
                                            {"audio_visual_digits", api::audio_visual_digits_study},
                                            {"stamps", api::stamps_study, false, true},
                                            {"basic_motions", api::basic_motions_study},
                                            {"har", api::har_study},
                                            {"bearing", api::bearing_study}};
  return kAll;
}

std::vector<NamedStudy> chosen_studies(const BenchFusionArgs& args) {
  std::vector<NamedStudy> out;
  std::string known;
  for (const NamedStudy& study : studies()) {
    known += (known.empty() ? "" : ", ") + study.name;
    const bool asked = args.datasets.empty()
                           ? (!args.quick || study.in_short) && (!args.sizes || study.sizes)
                           : std::count(args.datasets.begin(), args.datasets.end(), study.name) > 0;
    if (asked) out.push_back(study);
  }
  for (const std::string& name : args.datasets) {
    if (std::none_of(studies().begin(), studies().end(),
                     [&](const NamedStudy& s) { return s.name == name; })) {
      fail(ErrorCode::kInvalidArgument, "bench",
           "expected data sets of " + known + ", got \"" + name + "\"");
    }
  }
  return out;
}

/// Trust, the best single stream and the best static fusion fitted on few items and more.
Json run_sizes(const api::StudyData& data, const api::StudyOptions& options,
               const std::vector<long>& sizes) {
  Json out = Json::array();
  for (int64_t size : sizes) {
    if (size >= data.train.size() || size < 2 * data.classes) continue;
    api::StudyData fewer = api::with_fewer_items(data, size, options.trust.seed);
    fewer.conditions.resize(1);
    const Json result = api::run_fusion_study(fewer, options);
    Json row = Json::object({{"items", size}});
    for (const char* method : {"trust", "best_single", "best_static"})
      row[method] = result.at("methods").at(method).at("clean").at("accuracy");
    out.push_back(std::move(row));
  }
  return out;
}

/// What every method of every seed has been given: who is in training and test, and what is absent.
std::string splits_of(const std::vector<api::StudyData>& data) {
  ContentHash hash;
  auto add = [&](const at::Tensor& x) {
    const at::Tensor bytes = x.contiguous();
    hash.update(bytes.const_data_ptr(), bytes.nbytes());
  };
  for (const api::StudyData& one : data) {
    add(one.train.target);
    add(one.train.present);
    for (const auto& condition : one.conditions) {
      add(condition.test.target);
      add(condition.test.present);
      add(condition.hit);
    }
  }
  return hash.digest();
}

std::vector<std::string> trained_rivals(const BenchFusionArgs& args) {
  std::vector<std::string> out = args.rivals;
  if (out.empty() && !args.quick && args.rivals_from.empty()) out = train::baseline_names();
  std::erase(out, "none");
  return out;
}

std::string earlier_file(const BenchFusionArgs& args, const std::string& dataset) {
  return args.rivals_from + "/" + dataset + ".json";
}

constexpr double kDynMmWeights[] = {0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3};

/// The data of every seed.
struct Splits {
  Json head;  ///< What summarise and summarise_sizes have in common
  std::vector<uint64_t> seeds;
  std::vector<api::StudyData> data;
};

Splits make_splits(const NamedStudy& study, const BenchFusionArgs& args, Stages& stages) {
  Splits out;
  out.head["dataset"] = study.name;
  const auto count = static_cast<size_t>(args.seeds > 0 ? args.seeds : args.quick ? 3 : 10);
  // One seed after the other is put together, then all are fitted side by side.
  for (size_t i = 0; i < count; ++i) {
    out.seeds.push_back(static_cast<uint64_t>(args.first_seed) + i);
    out.data.push_back(study.make(out.seeds[i], [&](const std::string& stage, double share) {
      stages.callback()(study.name + ": data",
                        (static_cast<double>(i) + share) / static_cast<double>(count), 1, stage);
    }));
    out.head["seeds"].push_back(out.seeds[i]);
  }
  const api::StudyData& first = out.data.front();
  out.head["licence"] = first.licence;
  out.head["note"] = first.note;
  out.head["streams"] = first.streams;
  out.head["train_items"] = first.train.size();
  out.head["test_items"] = first.conditions.front().test.size();
  return out;
}

/// [of each seed run(seed, data)]
template <class Run>
Json each_seed(const NamedStudy& study, const Splits& splits, Stages& stages, const Run& run) {
  std::vector<Json> out(splits.seeds.size());
  auto report = [&](size_t done) {
    stages.callback()(study.name + ": seeds", static_cast<double>(done),
                      static_cast<double>(out.size()), "");
  };
  report(0);
  for_each_in_parallel(
      out.size(),
      [&](size_t i) {
        api::StudyOptions options;
        options.trust.seed = options.calibration.seed = splits.seeds[i];
        out[i] = run(splits.data[i], std::move(options));
      },
      report);
  return Json(std::move(out));
}

Json run_dataset(const NamedStudy& study, const BenchFusionArgs& args, Stages& stages) {
  const Splits splits = make_splits(study, args, stages);
  Json out = splits.head;
  out["conditions"] = Json::array();
  for (const auto& condition : splits.data.front().conditions)
    out["conditions"].push_back(condition.name);
  out["splits"] = splits_of(splits.data);
  const std::vector<std::string> rivals = trained_rivals(args);
  if (!args.rivals_from.empty())
    out["earlier"] = earlier_rivals(Json::read(earlier_file(args, study.name)), out, rivals);
  out["studies"] =
      each_seed(study, splits, stages, [&](const api::StudyData& data, api::StudyOptions options) {
        options.baselines = rivals;
        if (args.route_curves)
          options.dynmm_weights.assign(std::begin(kDynMmWeights), std::end(kDynMmWeights));
        return api::run_fusion_study(data, options);
      });
  return out;
}

/// Training items from few to many, on the same test items.
int bench_sizes(const BenchFusionArgs& args) {
  require(trained_rivals(args).empty() || args.rivals.empty(), "bench",
          "expected no trained rivals with few training items");
  const std::vector<long> sizes =
      args.items.empty() ? std::vector<long>{50, 100, 200, 500, 1000} : args.items;
  Stages stages;
  std::vector<Json> tables;
  for (const NamedStudy& study : chosen_studies(args)) {
    const Splits splits = make_splits(study, args, stages);
    Json raw = splits.head;
    raw["sizes"] = each_seed(study, splits, stages,
                             [&](const api::StudyData& data, const api::StudyOptions& options) {
                               return run_sizes(data, options, sizes);
                             });
    tables.push_back(summarise_sizes(raw));
    if (!args.output.empty())
      write_files(tables.back(), sizes_markdown(tables.back()), args.output, "sizes_" + study.name);
  }
  stages.finish();
  const Json bars = size_bars(tables);
  if (!args.output.empty())
    write_files(Json::object({{"bars", bars}}), bars_markdown(bars), args.output, "bars_sizes");
  if (args.json) {
    std::printf("%s\n", Json::object({{"bars", bars}, {"tables", tables}}).dump().c_str());
    return 0;
  }
  for (const Json& table : tables) std::printf("%s\n", sizes_markdown(table).c_str());
  std::printf("%s\n", bars_markdown(bars).c_str());
  return 0;
}

}  // namespace

int bench_fusion(const BenchFusionArgs& args) {
  if (args.sizes) return bench_sizes(args);
  const auto start = std::chrono::steady_clock::now();
  Stages stages;
  Json tables = Json::object({});
  std::vector<Json> raw;
  // Before anything is trained.
  if (!args.rivals_from.empty())
    for (const NamedStudy& study : chosen_studies(args)) Json::read(earlier_file(args, study.name));
  for (const NamedStudy& study : chosen_studies(args)) {
    raw.push_back(run_dataset(study, args, stages));
    Json table = summarise(raw.back());
    table["cpu"] = describe_devices().at("cpu").at("model");
    if (!args.output.empty()) write_files(table, to_markdown(table), args.output, study.name);
    tables[study.name] = std::move(table);
  }
  stages.finish();
  Json result = Json::object({{"bars", bars_of(raw)}, {"tables", std::move(tables)}});
  result["seconds"] =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (!args.output.empty()) {
    Json bars = Json::object({{"bars", result.at("bars")}, {"seconds", result.at("seconds")}});
    std::string name = "bars";
    for (const std::string& dataset : args.datasets) name += "_" + dataset;
    write_files(bars, bars_markdown(result.at("bars")), args.output, name);
  }
  if (args.json) {
    std::printf("%s\n", result.dump().c_str());
  } else {
    for (const auto& [name, table] : result.at("tables").members())
      std::printf("%s\n", to_markdown(table).c_str());
    std::printf("%s\n", bars_markdown(result.at("bars")).c_str());
    if (!args.output.empty()) std::printf("Written to %s\n", args.output.c_str());
  }
  return 0;
}

}  // namespace plait::cli
