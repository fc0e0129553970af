#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <set>

#include "plait/api/study_data.h"
#include "plait/cli/bench_result.h"
#include "plait/cli/commands.h"
#include "plait/cli/earlier_rivals.h"
#include "plait/cli/fusion_bars.h"
#include "plait/cli/fusion_tables.h"
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
  bool sizes = false;  ///< Fitted with few training items as well
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
                           ? !args.quick || study.in_short
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

/// Training items from few to many, on the same test items: trust against the best single stream.
Json run_sizes(const api::StudyData& data, api::StudyOptions options) {
  Json out = Json::array();
  options.baselines.clear();
  std::set<int64_t> seen;
  for (int64_t size : {50, 100, 200, 500, 1000}) {
    if (size >= data.train.size() || size < 2 * data.classes) continue;
    api::StudyData fewer = api::with_fewer_items(data, size, options.trust.seed);
    fewer.conditions.resize(1);
    Json result = api::run_fusion_study(fewer, options);
    const Json& methods = result.at("methods");
    auto of = [&](const char* method) {
      return methods.at(method).at("clean").at("accuracy").as_double();
    };
    out.push_back(Json::object({{"items", size},
                                {"trust", of("trust")},
                                {"best_single", of("best_single")},
                                {"best_static", of("best_static")},
                                {"never_worse", result.at("never_worse").at("clean")}}));
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

Json run_dataset(const NamedStudy& study, const BenchFusionArgs& args, Stages& stages) {
  Json out = Json::object({{"dataset", study.name}, {"studies", Json::array()}});
  const auto count = static_cast<size_t>(args.seeds > 0 ? args.seeds : args.quick ? 3 : 10);
  // One seed after the other is put together, then all are fitted side by side.
  std::vector<api::StudyData> data;
  for (size_t i = 0; i < count; ++i) {
    const auto seed = static_cast<uint64_t>(args.first_seed) + i;
    data.push_back(study.make(seed, [&](const std::string& stage, double share) {
      stages.callback()(study.name + ": data",
                        (static_cast<double>(i) + share) / static_cast<double>(count), 1, stage);
    }));
    out["seeds"].push_back(seed);
  }
  const api::StudyData& first = data.front();
  out["licence"] = first.licence;
  out["note"] = first.note;
  out["streams"] = first.streams;
  out["train_items"] = first.train.size();
  out["test_items"] = first.conditions.front().test.size();
  out["conditions"] = Json::array();
  for (const auto& condition : first.conditions) out["conditions"].push_back(condition.name);
  out["splits"] = splits_of(data);
  const std::vector<std::string> rivals = trained_rivals(args);
  if (!args.rivals_from.empty())
    out["earlier"] = earlier_rivals(Json::read(earlier_file(args, study.name)), out, rivals);

  // The whole form alone: it takes as long as all rivals together.
  const bool with_sizes = study.sizes && !args.quick && args.rivals.empty();
  std::vector<Json> results(count), sizes(count);
  auto report = [&](size_t done) {
    stages.callback()(study.name + ": seeds", static_cast<double>(done), static_cast<double>(count),
                      "");
  };
  report(0);
  for_each_in_parallel(
      count,
      [&](size_t i) {
        api::StudyOptions options;
        options.trust.seed = options.calibration.seed = static_cast<uint64_t>(args.first_seed) + i;
        options.baselines = rivals;
        results[i] = api::run_fusion_study(data[i], options);
        if (with_sizes) sizes[i] = run_sizes(data[i], options);
      },
      report);
  for (size_t i = 0; i < count; ++i) {
    if (with_sizes) results[i]["sizes"] = sizes[i];
    out["studies"].push_back(results[i]);
  }
  return out;
}

}  // namespace

int bench_fusion(const BenchFusionArgs& args) {
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
