#include "plait/api/size_encoders.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <sstream>

#include "plait/api/experiment.h"
#include "plait/api/trust_fitting.h"
#include "plait/core/error.h"
#include "plait/core/hash.h"
#include "plait/data/processor.h"
#include "plait/models/encoders/encoder.h"
#include "plait/models/registry.h"
#include "plait/runtime/multiply_adds.h"

namespace plait::api {
namespace {

constexpr size_t kCountedItems = 256;

/// Up to kCountedItems that have the stream, with it alone, drawn from all of them.
std::vector<Sample> some_items(const std::vector<Sample>& items, const std::string& stream) {
  std::vector<std::pair<uint64_t, const Value*>> drawn;
  for (size_t i = 0; i < items.size(); ++i) {
    auto value = items[i].streams.find(stream);
    if (value != items[i].streams.end()) drawn.emplace_back(mix_seed(1, i), &value->second);
  }
  std::sort(drawn.begin(), drawn.end());
  std::vector<Sample> out(std::min(drawn.size(), kCountedItems));
  for (size_t i = 0; i < out.size(); ++i) out[i].streams[stream] = *drawn[i].second;
  return out;
}

/// Members that differ, {"num_hidden_layers": [2, 3]}.
void note_changes(const Json& before, const Json& after, const std::string& prefix, Json& out) {
  for (const auto& [key, value] : after.members()) {
    const Json* old = before.find(key);
    if (!old || *old == value) continue;
    Json both = Json::array();
    both.push_back(*old);
    both.push_back(value);
    out[prefix + key] = both;
  }
}

}  // namespace

void size_encoders(Json& config, const ComputeOptions& options,
                   const std::map<std::string, double>& importance,
                   const std::set<std::string>& published, const std::string& dir,
                   const std::vector<Sample>& items) {
  if (items.empty()) {
    fail(ErrorCode::kInvalidArgument, "compute",
         "expected training items: the multiply-adds of the encoders are counted on them");
  }
  auto may = [&](const char* what) {
    return std::find(options.choose.begin(), options.choose.end(), what) != options.choose.end();
  };
  auto folder = [&](const std::string& name) {
    return (std::filesystem::path(dir) / "streams" / name).string();
  };
  std::vector<SizedStream> streams;
  std::map<std::string, std::vector<Sample>> counted;
  for (auto& [name, stream] : config["streams"].members()) {
    Json& encoder = stream["encoder"];
    const std::string type = encoder.get("type", "");
    encoder = models::create_as<models::Encoder>(encoder, "streams." + name + ".encoder")->config();
    encoder["type"] = type;
    Json& processor = stream["processor"];
    processor = data::make_processor(processor, folder(name), name)->config();
    SizedStream sized{name, {}, stream.get("max_tokens", 16)};
    sized.sizes = encoder_sizes(encoder, processor,
                                {.depth = may("depth"),
                                 .width = may("width"),
                                 .resolution = may("resolution"),
                                 .pretrained = published.count(name) > 0});
    counted[name] = some_items(items, name);
    count_sizes(sized, counted[name], folder(name));
    // Not to be steered, unless asked to: then the plan says so.
    if (sized.sizes.front().multiply_adds <= 0 && !options.share.contains(name)) continue;
    streams.push_back(std::move(sized));
  }
  std::vector<std::string> names;
  std::map<std::string, double> important;
  for (const SizedStream& s : streams) {
    names.push_back(s.name);
    if (!importance.empty()) important[s.name] = importance.at(s.name);
  }
  ComputePlan plan = plan_compute(streams,
                                  important.empty() ? read_shares(options.share, names)
                                                    : importance_shares(important, options.floor),
                                  options);
  plan.multiply_adds = 0;
  for (auto& s : plan.streams) {
    const int64_t tokens = config["streams"][s.name].get("max_tokens", 16);
    s.size.layers.clear();
    SizedStream chosen{s.name, {s.size}, tokens};
    count_sizes(chosen, counted.at(s.name), folder(s.name));
    s.size = chosen.sizes.front();
    plan.multiply_adds += s.size.multiply_adds;
  }
  for (auto& s : plan.streams) s.share = s.size.multiply_adds / plan.multiply_adds;
  Json written = plan.to_json();
  for (const auto& s : plan.streams) {
    Json& stream = config["streams"][s.name];
    Json changes = Json::object({});
    note_changes(stream.at("encoder"), s.size.encoder, "", changes);
    note_changes(stream.at("processor"), s.size.processor, "processor.", changes);
    written["streams"][s.name]["changes"] = changes;
    stream["encoder"] = s.size.encoder;
    stream["processor"] = s.size.processor;
  }
  for (const auto& [name, value] : importance) written["importance"][name] = value;
  config["compute"] = written;
}

std::map<std::string, double> stream_importance(MultimodalModel& model, const std::string& task,
                                                const train::FeatureDataset& items) {
  at::NoGradGuard no_grad;
  models::FusedNetwork& network = model.network();
  const auto& names = network.stream_names();
  if (names.size() > 10) {
    fail(ErrorCode::kInvalidArgument, "compute",
         "expected at most 10 streams to measure the importance of, got " +
             std::to_string(names.size()));
  }
  const auto trust = all_frozen(network) ? model.trust(task) : nullptr;
  at::Tensor target = get(items.targets(), task, "compute");
  target = target.index_select(0, (target >= 0).nonzero().squeeze(1));
  const double guess = at::bincount(target).max().item<double>() /
                       static_cast<double>(std::max<int64_t>(target.size(0), 1));
  std::map<std::string, int64_t> damaged;
  for (const std::string& name : names) {
    if (items.variants(name) > 1) damaged[name] = 1;
  }
  std::vector<std::map<std::string, int64_t>> views = {{}};
  if (!damaged.empty()) views.push_back(damaged);
  std::vector<double> worth(size_t{1} << names.size(), 0);
  worth[0] = guess;
  for (size_t subset = 1; subset < worth.size(); ++subset) {
    std::vector<std::string> only;
    for (size_t m = 0; m < names.size(); ++m) {
      if (subset >> m & 1) only.push_back(names[m]);
    }
    for (const auto& view : views) {
      auto results =
          evaluate_conditions(network, task, items, {{"", view, {}, only}}, Json(), trust.get());
      worth[subset] += results.empty() ? 0
                                       : results.front().metrics.at("accuracy") /
                                             static_cast<double>(views.size());
    }
  }
  const std::vector<double> values = shapley_values(worth);
  std::map<std::string, double> out;
  for (size_t m = 0; m < names.size(); ++m) out[names[m]] = values[m];
  return out;
}

std::map<std::string, double> realised_split(MultimodalModel& model,
                                             const std::vector<Sample>& items) {
  at::NoGradGuard no_grad;
  std::map<std::string, double> out;
  double sum = 0;
  for (const std::string& name : model.network().stream_names()) {
    const std::vector<Sample> some = some_items(items, name);
    // What is counted follows from the shapes alone.
    std::map<std::string, double> by_shape;
    double cost = 0;
    for (const Sample& item : some) {
      const StreamBatch one = model.prepare({item}).streams.at(name);
      std::ostringstream shape;
      for (const auto& [key, tensor] : one.inputs) shape << key << tensor.sizes();
      auto [count, unseen] = by_shape.try_emplace(shape.str(), 0);
      if (unseen) {
        count->second = static_cast<double>(
            runtime::count_multiply_adds([&] { model.network().encode(name, one); }));
      }
      cost += count->second;
    }
    sum += out[name] = some.empty() ? 0 : cost / static_cast<double>(some.size());
  }
  for (auto& [name, share] : out) share = sum > 0 ? share / sum : 0;
  return out;
}

void note_realised_split(MultimodalModel& model, const std::vector<Sample>& items) {
  const Json* plan = model.config().find("compute");
  if (!plan) return;
  Json noted = *plan;
  for (const auto& [name, share] : realised_split(model, items)) noted["realised"][name] = share;
  model.set_compute_plan(std::move(noted));
}

std::vector<std::vector<std::string>> plan_table(const Json& config) {
  std::vector<std::vector<std::string>> out;
  const Json* plan = config.find("compute");
  if (!plan) return out;
  const Json* realised = plan->find("realised");
  auto text = [](const char* form, double value) {
    char line[64];
    std::snprintf(line, sizeof line, form, value);
    return std::string(line);
  };
  for (const auto& [name, s] : plan->at("streams").members()) {
    std::string changes;
    for (const auto& [key, both] : s.at("changes").members())
      changes += (changes.empty() ? "" : ", ") + key + " " + both.at(size_t{0}).dump() + " → " +
                 both.at(size_t{1}).dump();
    out.push_back({name, text("%.1f", 100 * s.at("asked").as_double()),
                   text("%.1f", 100 * s.at("share").as_double()),
                   realised ? text("%.1f", 100 * realised->get(name, 0.0)) : "–",
                   text("%.2f", 1e-6 * s.at("multiply_adds").as_double()),
                   text("%.2f", 1e-6 * s.at("before").as_double()),
                   changes.empty() ? "none" : changes});
  }
  return out;
}

}  // namespace plait::api
