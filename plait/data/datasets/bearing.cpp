// A simulated bearing: nothing is fetched, the items are made here.
#include <ATen/ATen.h>

#include "plait/core/weights/safetensors.h"
#include "plait/data/datasets/prepare.h"
#include "plait/data/simulate/bearing.h"

namespace plait::data {
namespace {

constexpr int64_t kShiftedItems = 400;
constexpr uint64_t kShiftedSeed = 6206;

std::vector<ManifestItem> write(const BearingConfig& config, const std::string& name,
                                const std::string& dir) {
  std::vector<BearingItem> simulated = simulate_bearing(config);
  std::vector<at::Tensor> vibration, thermal;
  std::vector<ManifestItem> items;
  for (const BearingItem& one : simulated) {
    ManifestItem item;
    item.id = name + "/" + std::to_string(items.size());
    item.group = item.id;
    item.row = static_cast<int64_t>(items.size());
    item.texts["log"] = one.log;
    item.labels = {{"state", to_string(one.state)},
                   {"shaft_hz", one.shaft_hz},
                   {"load_n", one.load_n},
                   {"defect", one.defect}};
    items.push_back(std::move(item));
    vibration.push_back(one.vibration);
    thermal.push_back(one.thermal);
  }
  save_safetensors(dir + "/" + kTablesFile,
                   {{"vibration", at::stack(vibration)}, {"thermal", at::stack(thermal)}});
  return items;
}

std::vector<ManifestItem> prepare(const DatasetInfo& info, const std::string& dir,
                                  const Progress&) {
  return write({}, info.name, dir);
}

std::vector<ManifestItem> prepare_shifted(const DatasetInfo& info, const std::string& dir,
                                          const Progress&) {
  return write({.items = kShiftedItems,
                .seed = kShiftedSeed,
                .geometry = {},
                .machine = BearingMachine::shifted()},
               info.name, dir);
}

DatasetAdapter adapter(const std::string& name, const std::string& description) {
  DatasetAdapter out;
  out.info = {.name = name,
              .description = description,
              .licence = "synthetic: made by Plait (Apache-2.0), no data of others",
              .packages = {},
              .streams = {{"vibration", Modality::kSeries},
                          {"thermal", Modality::kImage},
                          {"log", Modality::kText}},
              .more_streams = {},
              .label = "state",
              .tools = {}};
  return out;
}

}  // namespace

DatasetAdapter bearing_dataset() {
  DatasetAdapter out = adapter(
      "bearing",
      "Synthetic: a simulated rolling bearing in five states (healthy, inner race, outer race, "
      "ball, lubrication) as vibration, thermal picture and maintenance log");
  out.prepare = prepare;
  return out;
}

DatasetAdapter bearing_shifted_dataset() {
  DatasetAdapter out =
      adapter("bearing_shifted",
              "Synthetic: the same bearing in another machine (slower, heavier loaded, other "
              "modes, warmer hall), for testing what was trained on bearing");
  out.prepare = prepare_shifted;
  return out;
}

}  // namespace plait::data
