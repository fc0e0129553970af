// What a model holds, and how inputs become features.
#include "plait/api/multimodal_model.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <mutex>

#include "plait/api/retrieval_trust.h"
#include "plait/api/task_targets.h"
#include "plait/api/trust_fitting.h"
#include "plait/core/device.h"
#include "plait/core/error.h"
#include "plait/core/feature_store.h"
#include "plait/core/file.h"
#include "plait/core/join.h"
#include "plait/core/parallel.h"
#include "plait/models/quality/quality.h"
#include "plait/runtime/trust_engine.h"
#include "plait/train/trainable.h"

namespace plait::api {
namespace {

/// Changes whenever one of the tensors is written to or replaced, without reading them.
std::string stamp_of(const std::vector<at::Tensor>& tensors) {
  std::string out;
  for (const at::Tensor& t : tensors) {
    const std::pair<const void*, int64_t> state{t.data_ptr(), t._version()};
    out.append(reinterpret_cast<const char*>(&state), sizeof state);
  }
  return out;
}

}  // namespace

std::string content_bytes(const Value& value) {
  if (auto* text = std::get_if<std::string>(&value)) return "t" + *text;
  if (auto* path = std::get_if<Path>(&value)) return "f" + read_file(path->path);
  if (auto* bytes = std::get_if<Bytes>(&value)) return "f" + bytes->bytes;
  if (auto* json = std::get_if<Json>(&value)) return "j" + json->dump();
  const bool wave = std::holds_alternative<Waveform>(value);
  at::Tensor tensor = wave ? std::get<Waveform>(value).samples : std::get<at::Tensor>(value);
  return feature_key(tensor,
                     wave ? std::to_string(std::get<Waveform>(value).sample_rate) : "tensor");
}

std::vector<std::string> MultimodalModel::available_backends() {
  return plait::available_backends();
}

std::shared_ptr<const models::TrustModel> MultimodalModel::trust(const std::string& task) const {
  auto found = trust_.find(task);
  return found == trust_.end() ? nullptr : found->second;
}

const runtime::TrustEngine* MultimodalModel::engine(const std::string& task) const {
  auto found = engines_.find(task);
  return found == engines_.end() ? nullptr : found->second.get();
}

void MultimodalModel::set_trust(const std::string& task,
                                std::shared_ptr<const models::TrustModel> trust) {
  engines_.erase(task);
  if (!trust) {
    trust_.erase(task);
    return;
  }
  const TaskKind kind = kind_of(network_->task_config(task));
  const bool retrieval = network_->task_config(task).get("type", "") == "retrieval";
  if (trust->fusion().config().streams !=
          (retrieval ? query_streams(*network_, task) : network_->stream_names()) ||
      !answers(trust->fusion(), network_->task_config(task))) {
    fail(ErrorCode::kInvalidArgument, "model",
         "expected a trust fusion of this model's streams and of the answers of " + task);
  }
  if (kind == TaskKind::kClasses && runtime::TrustEngine::covers(*trust))
    engines_[task] = std::make_shared<runtime::TrustEngine>(trust);
  trust_[task] = std::move(trust);
}

const data::Processor& MultimodalModel::processor(const std::string& stream) const {
  return *shared_processor(stream);
}

std::shared_ptr<const data::Processor> MultimodalModel::shared_processor(
    const std::string& stream) const {
  auto it = processors_.find(stream);
  if (it != processors_.end()) return it->second;
  fail(ErrorCode::kInvalidArgument, "model",
       "expected a stream of this model (" + join(network_->stream_names()) + "), got \"" + stream +
           "\"");
}

Batch MultimodalModel::prepare(const std::vector<Sample>& samples) const {
  return prepare(samples, nullptr);
}

Batch MultimodalModel::prepare(const std::vector<Sample>& samples, Details* details) const {
  Batch batch;
  if (details) details->assign(samples.size(), {});
  batch.size = static_cast<int64_t>(samples.size());
  for (const Sample& sample : samples) {
    batch.ids.push_back(sample.id);
    for (const auto& [name, value] : sample.streams) processor(name);
  }
  for (const std::string& name : network_->stream_names()) {
    std::vector<Value> decoded(samples.size());
    std::vector<const Value*> rows(samples.size(), nullptr);
    at::Tensor present = at::zeros({batch.size}, at::kBool);
    at::Tensor quality = at::zeros({batch.size});
    Modality modality = network_->modality(name);
    std::vector<models::Quality> assessed(samples.size());
    for_each_in_parallel(samples.size(), [&](size_t i) {
      auto it = samples[i].streams.find(name);
      if (it == samples[i].streams.end()) return;
      std::string where = samples[i].id.empty() ? name : name + " of " + samples[i].id;
      decoded[i] = data::decode(it->second, modality, where);
      rows[i] = &decoded[i];
      assessed[i] = models::assess(decoded[i], modality);
    });
    for (size_t i = 0; i < samples.size(); ++i) {
      if (!rows[i]) continue;
      present[static_cast<int64_t>(i)] = true;
      quality[static_cast<int64_t>(i)] = assessed[i].score;
      if (details) (*details)[i][name] = std::move(assessed[i]);
    }
    if (!present.any().item<bool>()) continue;
    StreamBatch stream;
    SerialScope serial;
    stream.inputs = processors_.at(name)->process(rows, name);
    stream.present = present;
    stream.quality = quality;
    for (auto& [key, tensor] : stream.inputs) {
      if (tensor.is_floating_point()) tensor = tensor.to(dtype_);
    }
    batch.streams[name] = std::move(stream);
  }
  return device_.is_cpu() ? batch : train::to(batch, device_);
}

Feature MultimodalModel::encode(const std::string& stream, const Value& value) {
  at::NoGradGuard no_grad;
  Feature out;
  out.stream = stream;
  out.content_hash = feature_key(content_bytes(value), fingerprint(stream));
  if (auto found = cache_ ? cache_->get(out.content_hash) : std::nullopt) {
    // What somebody else put under this key, in another form, does not count.
    if (found->count("tokens") && found->count("mask") && found->count("pooled") &&
        found->count("quality")) {
      out.encoded.tokens = found->at("tokens").to(device_, dtype_).unsqueeze(0);
      out.encoded.mask = found->at("mask").to(device_).unsqueeze(0);
      out.encoded.pooled = found->at("pooled").to(device_, dtype_).unsqueeze(0);
      out.quality = found->at("quality").item<double>();
      return out;
    }
  }
  Sample sample;
  sample.streams[stream] = value;
  Details details;
  Batch batch = prepare({sample}, &details);
  out.assessed = details[0].at(stream);
  out.encoded = network_->encode(stream, batch.streams.at(stream));
  out.quality = batch.streams.at(stream).quality[0].item<double>();
  if (cache_) {
    cache_->put(out.content_hash, {{"tokens", out.encoded.tokens[0].to(at::kCPU)},
                                   {"mask", out.encoded.mask[0].to(at::kCPU)},
                                   {"pooled", out.encoded.pooled[0].to(at::kCPU)},
                                   {"quality", at::scalar_tensor(out.quality)}});
  }
  return out;
}

std::string MultimodalModel::fingerprint(const std::string& stream) const {
  processor(stream);
  std::vector<at::Tensor> state = network_->encoder(stream).parameters();
  for (const auto& [name, buffer] : network_->encoder(stream).named_buffers())
    state.push_back(buffer);
  const std::string stamp = stamp_of(state);
  {
    std::lock_guard lock(fingerprints_mutex_);
    auto known = fingerprints_.find(stream);
    if (known != fingerprints_.end() && known->second.first == stamp) return known->second.second;
  }
  TensorMap weights;
  const std::string prefix = "streams." + stream + ".encoder.";
  for (const auto& [name, tensor] : network_->state_dict()) {
    if (name.rfind(prefix, 0) == 0) weights[name] = tensor;
  }
  Json what = config_.at("streams").at(stream);
  what["processor"] = processor(stream).config();
  // Features are kept together with the quality of what they were made from.
  what["quality"] = models::kQualityVersion;
  std::string digest = encoder_fingerprint(what.dump(), weights);
  std::lock_guard lock(fingerprints_mutex_);
  fingerprints_[stream] = {stamp, digest};
  return digest;
}

}  // namespace plait::api
