// fusion_search OUTPUT.json [BASELINE...]: chooses the learning rate of every baseline (or of those
// named), then the bound of its features, on validation items of the handwritten digits, one
// thread. Splits of the seeds 100 and 101, which no table uses; their test items are not looked at.
// What counts is the mean accuracy over the conditions, clean and damaged alike. What OUTPUT.json
// has already is not tried again. plait/train/trust/baselines.cpp holds the result.
#include <cstdio>
#include <filesystem>

#include "benchmarks/fusion/handwritten.h"
#include "plait/core/device.h"
#include "plait/core/json.h"
#include "plait/core/parallel.h"
#include "plait/train/metrics.h"
#include "plait/train/trust/baselines.h"

namespace plait::bench {
namespace {

const std::vector<double> kRates{5e-4, 1e-3, 2e-3, 5e-3};
constexpr double kWide = 100, kTight = 3;
const std::vector<int64_t> kSeeds{100, 101};

struct Split {
  train::TrustData train, validation;
  std::vector<std::pair<std::string, train::TrustData>> conditions;
  int64_t classes;
};

Split load(int64_t seed) {
  Handwritten data = load_handwritten(seed, /*validation=*/true);
  const Side& held_out = data.held_out;
  const auto draw = static_cast<uint64_t>(seed) + 1;
  Split out{as_trust_data(data.train.views, data.train.target),
            as_trust_data(held_out.views, held_out.target),
            {},
            data.classes};
  auto add = [&](const std::string& name, const train::DamagedViews& damaged) {
    out.conditions.emplace_back(name, as_trust_data(damaged.tables, held_out.target));
  };
  for (int deviation : {0, 1, 5, 10}) {
    add(deviation == 0 ? "clean" : "noise_" + std::to_string(deviation),
        train::add_view_noise(held_out.views, deviation, draw));
  }
  add("swapped", train::swap_views(held_out.views, held_out.target, draw));
  add("missing_3", train::remove_views(held_out.views, 3, draw));
  return out;
}

/// {"lr", "bound", "mean", "conditions": {name: accuracy}}, means over the seeds.
Json try_out(const std::string& name, double rate, double bound, const std::vector<Split>& splits) {
  std::map<std::string, double> sums;
  for (size_t i = 0; i < splits.size(); ++i) {
    train::BaselineOptions options = train::baseline_options(name);
    options.lr = rate;
    options.bound = bound;
    options.seed = static_cast<uint64_t>(kSeeds[i]);
    const Split& split = splits[i];
    auto model = train::fit_baseline(name, split.train, split.validation, split.classes, options);
    for (const auto& [condition, items] : split.conditions) {
      at::Tensor answer = model->log_probabilities(items.clean(), items.present);
      sums[condition] += train::accuracy(answer, items.target);
    }
  }
  const auto seeds = static_cast<double>(splits.size());
  Json out = Json::object({{"lr", rate}, {"bound", bound}, {"mean", 0.0}});
  double mean = 0;
  for (const auto& [condition, unused] : splits[0].conditions) {
    out["conditions"][condition] = sums[condition] / seeds;
    mean += sums[condition] / seeds / static_cast<double>(splits[0].conditions.size());
  }
  out["mean"] = mean;
  return out;
}

/// Searches for one baseline; `row` has what was tried before and gets the rest.
void search_one(const std::string& name, const std::vector<Split>& splits, Json& row) {
  Json best;
  auto look = [&](double rate, double bound) {
    Json tried;
    if (const Json* before = row.find("tried")) {
      for (const Json& t : before->items()) {
        if (t.at("lr").as_double() == rate && t.at("bound").as_double() == bound) tried = t;
      }
    }
    if (tried.is_null()) {
      tried = try_out(name, rate, bound, splits);
      row["tried"].push_back(tried);
    }
    std::printf("%-26s lr %-7g bound %-4g %.4f\n", name.c_str(), rate, bound,
                tried.at("mean").as_double());
    std::fflush(stdout);
    if (best.is_null() || tried.at("mean").as_double() > best.at("mean").as_double()) best = tried;
  };
  for (double rate : kRates) look(rate, kWide);
  look(best.at("lr").as_double(), kTight);
  row["best"] = Json::object({{"lr", best.at("lr")}, {"bound", best.at("bound")}});
}

}  // namespace

int search(const std::string& path, std::vector<std::string> names) {
  SerialScope serial;
  std::vector<Split> splits;
  for (int64_t seed : kSeeds) splits.push_back(load(seed));
  if (names.empty()) names = train::baseline_names();
  Json result = Json::object({{"dataset", "handwritten"},
                              {"items", "validation"},
                              {"seeds", kSeeds},
                              {"cpu", describe_devices().at("cpu").at("model")},
                              {"threads", 1}});
  if (std::filesystem::exists(path)) result["baselines"] = Json::read(path).at("baselines");
  for (const std::string& name : names) {
    search_one(name, splits, result["baselines"][name]);
    result.write(path);
  }
  return 0;
}

}  // namespace plait::bench

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: fusion_search OUTPUT.json [BASELINE...]\n");
    return 2;
  }
  return plait::bench::search(argv[1], {argv + 2, argv + argc});
}
