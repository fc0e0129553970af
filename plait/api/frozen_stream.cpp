#include "plait/api/frozen_stream.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <set>

#include "plait/core/error.h"
#include "plait/core/hash.h"
#include "plait/core/parallel.h"
#include "plait/data/augment/augment.h"
#include "plait/data/decode.h"

namespace plait::api {
namespace {

constexpr size_t kBatch = 16;
/// Raised when data::damage changes what it makes: part of the key of what is kept.
constexpr const char* kRevision = "study-1";

}  // namespace

FrozenStream::FrozenStream(std::shared_ptr<MultimodalModel> model, std::string name,
                           const std::vector<Sample>& samples, FeatureStore* store)
    : model_(std::move(model)),
      name_(std::move(name)),
      fingerprint_(model_->fingerprint(name_)),
      modality_(model_->network().modality(name_)),
      store_(store) {
  for (const Sample& sample : samples) {
    auto found = sample.streams.find(name_);
    if (found == sample.streams.end()) {
      fail(ErrorCode::kInvalidArgument, "study",
           sample.id + ": expected a stream \"" + name_ + "\"");
    }
    items_[sample.id] = found->second;
    digests_[sample.id] = content_hash(content_bytes(found->second));
  }
}

FrozenStream::~FrozenStream() = default;

Value FrozenStream::clean(const std::string& id) {
  return Json::object({{"id", id}, {"kind", ""}, {"severity", 0.0}, {"seed", ""}});
}

StudyDamage FrozenStream::damage(const std::string& kind, bool seen,
                                 std::vector<StudyLevel> levels) {
  StudyDamage out;
  out.name = kind;
  out.seen = seen;
  out.levels = std::move(levels);
  out.apply = [kind](const Value& value, double severity, uint64_t seed) -> Value {
    return Json::object({{"id", std::get<Json>(value).at("id")},
                         {"kind", kind},
                         {"severity", severity},
                         {"seed", std::to_string(seed)}});
  };
  return out;
}

StudyDamage FrozenStream::replaced_by(const std::string& kind, const std::string& other, bool seen,
                                      const std::vector<Sample>& samples) {
  for (const Sample& sample : samples) {
    auto found = sample.streams.find(other);
    if (found != sample.streams.end()) replaced_[kind][sample.id] = found->second;
  }
  // How strong and by which seed does not matter: one copy of an item serves all.
  StudyDamage out = damage(kind, seen, {{"1", 1.0}});
  out.apply = [kind](const Value& value, double, uint64_t) -> Value {
    return Json::object(
        {{"id", std::get<Json>(value).at("id")}, {"kind", kind}, {"severity", 1.0}, {"seed", ""}});
  };
  return out;
}

at::Tensor FrozenStream::encode(const std::vector<Value>& values) {
  encode_missing(values);
  std::vector<at::Tensor> rows;
  for (const Value& value : values) rows.push_back(look_up(value).pooled);
  return at::stack(rows);
}

at::Tensor FrozenStream::judge(const std::vector<Value>& values) {
  encode_missing(values);
  std::vector<float> out;
  for (const Value& value : values) out.push_back(look_up(value).quality);
  return at::tensor(out);
}

const FrozenStream::Known& FrozenStream::look_up(const Value& value) const {
  return known_.at(std::get<Json>(value).dump());
}

Value FrozenStream::make(const Json& named) const {
  const std::string id = named.at("id").as_string(), kind = named.at("kind").as_string();
  if (auto replaced = replaced_.find(kind); replaced != replaced_.end()) {
    auto found = replaced->second.find(id);
    return data::decode(found == replaced->second.end() ? items_.at(id) : found->second, modality_,
                        id);
  }
  Value value = data::decode(items_.at(id), modality_, id);
  if (kind.empty()) return value;
  return data::damage(value, modality_, kind, named.at("severity").as_double(),
                      std::stoull(named.at("seed").as_string()));
}

void FrozenStream::encode_missing(const std::vector<Value>& values) {
  at::NoGradGuard no_grad;
  struct Waiting {
    Json named;
    std::string text, key;
  };
  std::vector<Waiting> waiting;
  std::set<std::string> asked;
  for (const Value& value : values) {
    Waiting one{std::get<Json>(value), std::get<Json>(value).dump(), ""};
    if (known_.count(one.text) > 0 || !asked.insert(one.text).second) continue;
    const std::string id = one.named.at("id").as_string();
    auto replaced = replaced_.find(one.named.at("kind").as_string());
    one.key = feature_key(digests_.at(id) + "|" + one.text + "|" + kRevision, fingerprint_);
    if (replaced != replaced_.end() && replaced->second.count(id) > 0) {
      one.key = feature_key(content_bytes(replaced->second.at(id)) + "|" + kRevision, fingerprint_);
    }
    if (auto found = store_->get(one.key);
        found && found->count("pooled") && found->count("quality")) {
      known_[one.text] = {found->at("pooled").clone(), found->at("quality").item<float>()};
    } else {
      waiting.push_back(std::move(one));
    }
  }
  for (size_t begin = 0; begin < waiting.size(); begin += kBatch) {
    const size_t end = std::min(waiting.size(), begin + kBatch);
    std::vector<Sample> part(end - begin);
    for_each_in_parallel(part.size(), [&](size_t k) {
      const Json& named = waiting[begin + k].named;
      part[k].id = named.at("id").as_string();
      part[k].streams[name_] = make(named);
    });
    Batch batch = model_->prepare(part);
    const StreamBatch& stream = batch.streams.at(name_);
    at::Tensor pooled = model_->network().encode(name_, stream).pooled.to(at::kCPU, at::kFloat),
               quality = stream.quality.to(at::kCPU, at::kFloat);
    for (size_t k = 0; k < part.size(); ++k) {
      const auto row = static_cast<int64_t>(k);
      const Waiting& one = waiting[begin + k];
      known_[one.text] = {pooled[row].clone(), quality[row].item<float>()};
      store_->put(one.key, {{"pooled", pooled[row].clone()}, {"quality", quality[row].clone()}});
    }
  }
}

}  // namespace plait::api
