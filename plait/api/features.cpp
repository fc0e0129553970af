#include "plait/api/features.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <random>

#include "plait/core/error.h"
#include "plait/core/hash.h"
#include "plait/core/parallel.h"
#include "plait/data/augment/augment.h"

namespace plait::api {
namespace {

/// The seed of what happens to one stream of one item.
uint64_t item_seed(uint64_t seed, const std::string& stream, const std::vector<Sample>& samples,
                   size_t index) {
  const std::string& id = samples[index].id;
  const std::string digest = content_hash(stream + "|" + (id.empty() ? std::to_string(index) : id));
  return mix_seed(seed, std::stoull(digest.substr(0, 16), nullptr, 16));
}

/// One row of a table while it is being filled: tokens [T, D], mask [T], pooled [D], quality.
struct Row {
  TensorMap features;
  bool present = false;
};

train::FeatureTable stack_rows(std::vector<Row>& rows, int64_t width) {
  int64_t longest = 1;
  for (const Row& row : rows) {
    if (row.present) longest = std::max(longest, row.features.at("tokens").size(0));
  }
  auto count = static_cast<int64_t>(rows.size());
  train::FeatureTable table;
  table.tokens = at::zeros({count, longest, width});
  table.mask = at::zeros({count, longest}, at::kBool);
  table.pooled = at::zeros({count, width});
  table.present = at::zeros({count}, at::kBool);
  table.quality = at::zeros({count});
  for (int64_t i = 0; i < count; ++i) {
    Row& row = rows[static_cast<size_t>(i)];
    if (!row.present) continue;
    const at::Tensor& tokens = row.features.at("tokens");
    table.tokens[i].narrow(0, 0, tokens.size(0)).copy_(tokens);
    table.mask[i].narrow(0, 0, tokens.size(0)).copy_(row.features.at("mask"));
    table.pooled[i].copy_(row.features.at("pooled"));
    table.quality[i] = row.features.at("quality").item<float>();
    table.present[i] = true;
  }
  return table;
}

/// What the encoder of `stream` takes for all samples: for encoders that are trained, so nothing is
/// cached.
train::FeatureTable input_table(const MultimodalModel& model, const std::vector<Sample>& samples,
                                const std::string& stream, const DamagePlan* plan,
                                int64_t batch_size, const std::function<void(int64_t)>& progress) {
  const Modality modality = model.network().modality(stream);
  std::map<std::string, std::vector<at::Tensor>> inputs;
  std::vector<at::Tensor> present, quality;
  for (size_t begin = 0; begin < samples.size(); begin += static_cast<size_t>(batch_size)) {
    size_t end = std::min(samples.size(), begin + static_cast<size_t>(batch_size));
    std::vector<Sample> part(end - begin);
    for_each_in_parallel(part.size(), [&](size_t k) {
      const size_t i = begin + k;
      part[k].id = samples[i].id;
      auto it = samples[i].streams.find(stream);
      if (it == samples[i].streams.end()) return;
      part[k].streams[stream] =
          plan ? damaged_value(samples, i, stream, modality, *plan) : it->second;
    });
    Batch batch = model.prepare(part);
    auto found = batch.streams.find(stream);
    StreamBatch rows;
    if (found != batch.streams.end()) {
      rows = std::move(found->second);
    } else {
      rows.inputs =
          model.processor(stream).process(std::vector<const Value*>(part.size(), nullptr), stream);
      rows.present = at::zeros({batch.size}, at::kBool);
      rows.quality = at::zeros({batch.size});
    }
    for (const auto& [name, tensor] : rows.inputs) inputs[name].push_back(tensor);
    present.push_back(rows.present);
    quality.push_back(rows.quality);
    progress(static_cast<int64_t>(end - begin));
  }
  train::FeatureTable table;
  for (auto& [name, parts] : inputs) table.inputs[name] = train::stack_rows(std::move(parts));
  table.present = at::cat(present);
  table.quality = at::cat(quality);
  return table;
}

}  // namespace

Damage draw_damage(const DamagePlan& plan, Modality modality, const std::string& stream,
                   const std::vector<Sample>& samples, size_t index) {
  const size_t count = samples.size();
  std::mt19937_64 random(item_seed(plan.seed, stream, samples, index));
  auto unit = [&] { return unit_interval(random()); };
  Damage out;
  out.severity = plan.min_severity + (plan.max_severity - plan.min_severity) * unit();
  if (unit() < plan.wrong && count > 1) {
    out.kind = "wrong";
    out.other = (index + 1 + static_cast<size_t>(unit() * static_cast<double>(count - 1))) % count;
    return out;
  }
  std::vector<std::string> kinds = plan.kinds.empty() ? data::damage_kinds(modality) : plan.kinds;
  if (kinds.empty()) {
    fail(ErrorCode::kUnavailable, "features",
         stream + ": expected a modality with kinds of damage, got " + to_string(modality));
  }
  out.kind = kinds[static_cast<size_t>(unit() * static_cast<double>(kinds.size()))];
  return out;
}

namespace {

/// The value that a "wrong" item gets: the first other one from `start` on; the item's own when
/// there is no other.
const Value& other_value(const std::vector<Sample>& samples, const std::string& stream,
                         size_t index, size_t start) {
  for (size_t step = 0; step < samples.size(); ++step) {
    size_t i = (start + step) % samples.size();
    auto it = samples[i].streams.find(stream);
    if (i != index && it != samples[i].streams.end()) return it->second;
  }
  return samples[index].streams.at(stream);
}

/// What a damaged copy was made from and how, for its key.
std::string damage_key(const std::vector<Sample>& samples, size_t index, const std::string& stream,
                       Modality modality, const DamagePlan& plan) {
  Damage d = draw_damage(plan, modality, stream, samples, index);
  if (d.kind == "wrong") return content_bytes(other_value(samples, stream, index, d.other));
  return content_bytes(samples[index].streams.at(stream)) + "|" + d.kind + "|" +
         std::to_string(d.severity) + "|" +
         std::to_string(item_seed(plan.seed + 1, stream, samples, index));
}

}  // namespace

Value damaged_value(const std::vector<Sample>& samples, size_t index, const std::string& stream,
                    Modality modality, const DamagePlan& plan) {
  Damage damage = draw_damage(plan, modality, stream, samples, index);
  auto it = samples[index].streams.find(stream);
  if (it == samples[index].streams.end()) {
    fail(ErrorCode::kInvalidArgument, "features",
         samples[index].id + " has no stream \"" + stream + "\"");
  }
  if (damage.kind == "wrong") {
    return data::decode(other_value(samples, stream, index, damage.other), modality, stream);
  }
  return data::damage(data::decode(it->second, modality, stream), modality, damage.kind,
                      damage.severity, item_seed(plan.seed + 1, stream, samples, index));
}

std::map<std::string, std::vector<train::FeatureTable>> extract_features(
    MultimodalModel& model, const std::vector<Sample>& samples, const ExtractOptions& options) {
  at::NoGradGuard no_grad;
  std::map<std::string, std::vector<train::FeatureTable>> out;
  const auto variants = static_cast<int64_t>(options.damaged.size()) + 1;
  const auto total = static_cast<int64_t>(samples.size()) * variants;
  for (const std::string& stream : model.network().stream_names()) {
    const Modality modality = model.network().modality(stream);
    const int64_t width = model.network().encoder(stream).width();
    const std::string fingerprint = options.store ? model.fingerprint(stream) : "";
    int64_t done = 0;
    for (int64_t v = 0; v < variants; ++v) {
      const DamagePlan* plan = v == 0 ? nullptr : &options.damaged[static_cast<size_t>(v - 1)];
      if (!model.config().at("streams").at(stream).get("frozen", false)) {
        out[stream].push_back(input_table(model, samples, stream, plan, 64, [&](int64_t n) {
          done += n;
          if (options.progress) options.progress(stream, done, total);
        }));
        continue;
      }
      std::vector<Row> rows(samples.size());
      std::vector<size_t> waiting;
      std::vector<std::string> keys(samples.size());
      auto encode_waiting = [&] {
        if (waiting.empty()) return;
        std::vector<Sample> part(waiting.size());
        for_each_in_parallel(waiting.size(), [&](size_t k) {
          const size_t i = waiting[k];
          part[k].id = samples[i].id;
          part[k].streams[stream] = plan ? damaged_value(samples, i, stream, modality, *plan)
                                         : samples[i].streams.at(stream);
        });
        Batch batch = model.prepare(part);
        models::EncoderOutput encoded = model.network().encode(stream, batch.streams.at(stream));
        for (size_t k = 0; k < waiting.size(); ++k) {
          auto r = static_cast<int64_t>(k);
          Row& row = rows[waiting[k]];
          row.present = true;
          row.features = {{"tokens", encoded.tokens[r].to(at::kCPU, at::kFloat).clone()},
                          {"mask", encoded.mask[r].to(at::kCPU).clone()},
                          {"pooled", encoded.pooled[r].to(at::kCPU, at::kFloat).clone()},
                          {"quality", batch.streams.at(stream).quality[r].to(at::kCPU).clone()}};
          if (options.store) options.store->put(keys[waiting[k]], row.features);
        }
        waiting.clear();
      };
      for (size_t i = 0; i < samples.size(); ++i) {
        auto it = samples[i].streams.find(stream);
        if (it != samples[i].streams.end()) {
          if (options.store) {
            keys[i] = feature_key(
                plan ? damage_key(samples, i, stream, modality, *plan) : content_bytes(it->second),
                fingerprint);
            if (auto found = options.store->get(keys[i])) {
              rows[i] = {std::move(*found), true};
            }
          }
          if (!rows[i].present) waiting.push_back(i);
          if (static_cast<int64_t>(waiting.size()) >= options.batch_size) encode_waiting();
        }
        ++done;
        if (options.progress && (done % 8 == 0 || done == total))
          options.progress(stream, done, total);
      }
      encode_waiting();
      out[stream].push_back(stack_rows(rows, width));
    }
  }
  return out;
}

at::Tensor class_targets(const std::vector<Sample>& samples, const std::string& task,
                         const std::vector<std::string>& labels) {
  at::Tensor out = at::full({static_cast<int64_t>(samples.size())}, -1, at::kLong);
  for (size_t i = 0; i < samples.size(); ++i) {
    auto it = samples[i].labels.find(task);
    if (it == samples[i].labels.end() || it->second.is_null()) continue;
    auto found = std::find(labels.begin(), labels.end(), it->second.as_string());
    if (found == labels.end()) {
      fail(ErrorCode::kInvalidArgument, "features",
           samples[i].id + ": expected a label of task \"" + task +
               "\", got one that the model does not have");
    }
    out[static_cast<int64_t>(i)] = static_cast<int64_t>(found - labels.begin());
  }
  return out;
}

}  // namespace plait::api
