#include "plait/api/multimodal_model.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <chrono>
#include <mutex>

#include "plait/api/answer.h"
#include "plait/api/retrieval_trust.h"
#include "plait/api/task_targets.h"
#include "plait/api/trust_fitting.h"
#include "plait/core/device.h"
#include "plait/core/error.h"
#include "plait/core/feature_store.h"
#include "plait/core/file.h"
#include "plait/core/log.h"
#include "plait/core/parallel.h"
#include "plait/models/quality/quality.h"
#include "plait/models/tasks/retrieval.h"
#include "plait/runtime/trust_engine.h"
#include "plait/train/calibrate.h"
#include "plait/train/trainable.h"

namespace plait::api {
namespace {

std::string join(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
  return out;
}

std::vector<std::string> labels_of(const Json& task, int64_t classes) {
  if (const Json* labels = task.find("labels")) return labels->as_strings();
  std::vector<std::string> out;
  for (int64_t i = 0; i < classes; ++i) out.push_back(std::to_string(i));
  return out;
}

class Stopwatch {
 public:
  double milliseconds() const {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start_)
        .count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// One item's features, as the network takes them.
struct Gathered {
  std::map<std::string, models::EncoderOutput> encoded;
  at::Tensor present, quality;  ///< [1, M]
};

/// Features of the streams `names`. @throws Error kInvalidArgument for two of one stream.
Gathered gather(const std::vector<std::string>& names, const std::vector<Feature>& features) {
  const auto streams = static_cast<int64_t>(names.size());
  Gathered out{{}, at::zeros({1, streams}, at::kBool), at::zeros({1, streams})};
  for (const Feature& feature : features) {
    if (!out.encoded.emplace(feature.stream, feature.encoded).second) {
      fail(ErrorCode::kInvalidArgument, "decode",
           "expected one feature per stream, got two of \"" + feature.stream + "\"");
    }
    const auto m = std::find(names.begin(), names.end(), feature.stream) - names.begin();
    out.present[0][m] = true;
    out.quality[0][m] = feature.quality;
  }
  return out;
}

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

Prediction MultimodalModel::predict(const std::map<std::string, Value>& streams,
                                    const PredictOptions& options) {
  Sample sample;
  sample.streams = streams;
  return predict_batch({sample}, options).front();
}

std::vector<Prediction> MultimodalModel::predict_batch(const std::vector<Sample>& samples,
                                                       const PredictOptions& options) {
  at::NoGradGuard no_grad;
  for (const Sample& sample : samples) {
    if (sample.streams.empty()) {
      fail(ErrorCode::kInvalidArgument, "predict",
           "expected at least one stream of: " + join(network_->stream_names()));
    }
  }
  const bool stepwise =
      cache_ || options.early_exit || options.max_multiply_adds > 0 || options.max_latency_ms > 0;
  std::vector<Prediction> out;
  for (size_t i = 0; stepwise && i < samples.size(); ++i)
    out.push_back(predict_stepwise(samples[i], options));
  for (size_t begin = 0; !stepwise && begin < samples.size();
       begin += static_cast<size_t>(max_batch_)) {
    size_t end = std::min(samples.size(), begin + static_cast<size_t>(max_batch_));
    std::vector<Sample> part(samples.begin() + static_cast<long>(begin),
                             samples.begin() + static_cast<long>(end));
    for (Prediction& p : predict_together(part, options)) out.push_back(std::move(p));
  }
  return out;
}

std::vector<Prediction> MultimodalModel::predict_together(const std::vector<Sample>& samples,
                                                          const PredictOptions& options) {
  const Stopwatch watch;
  Details details;
  Batch batch = prepare(samples, options.explain ? &details : nullptr);
  std::vector<Prediction> out = answer(network_->forward(batch), options, details);
  for (Prediction& p : out) p.latency_ms = watch.milliseconds();
  return out;
}

Prediction MultimodalModel::predict_stepwise(const Sample& sample, const PredictOptions& options) {
  const Stopwatch watch;
  const auto& names = network_->stream_names();
  for (const auto& [stream, value] : sample.streams) processor(stream);
  require(options.early_exit_loss >= 0 && options.early_exit_loss < 1, "predict",
          "expected an early_exit_loss from 0 to 1");
  auto trusted = trust(task_of(options));
  if (trusted && trusted->fusion().config().candidates) trusted = nullptr;
  if (!trusted && (options.early_exit || options.max_multiply_adds > 0)) {
    fail(ErrorCode::kInvalidArgument, "predict",
         "expected a model whose task has a route (train it again), or no early_exit and budget");
  }
  // The route's order; without one that of the network.
  std::vector<std::string> order = names;
  const models::Route route = trusted ? trusted->route() : models::Route{};
  if (!route.order.empty()) {
    order.clear();
    for (int64_t m : route.order) order.push_back(names[static_cast<size_t>(m)]);
  }
  auto cost_of = [&](const std::string& stream) {
    const auto m = std::find(names.begin(), names.end(), stream) - names.begin();
    return route.cost.empty() ? 1.0 : route.cost[static_cast<size_t>(m)];
  };
  std::vector<Feature> features;
  // How sure the answer is with what was seen; the network's own fusion is not asked on the way.
  const runtime::TrustEngine* fast = engine(task_of(options));
  std::vector<runtime::TrustEngine::Look> looks(names.size());
  auto confidence = [&] {
    const Gathered seen = gather(names, features);
    if (fast) {
      const Feature& last = features.back();
      const auto m = std::find(names.begin(), names.end(), last.stream) - names.begin();
      looks[static_cast<size_t>(m)] = fast->look(static_cast<size_t>(m), last.encoded.pooled);
      return fast->decide(looks, seen.quality).log_probabilities.max().exp().item<double>();
    }
    std::map<std::string, at::Tensor> pooled;
    for (const auto& [name, encoded] : seen.encoded) pooled[name] = encoded.pooled;
    auto verdict =
        trusted->decide(gather_evidence(*trusted, names, pooled, seen.quality, seen.present));
    return trusted->confidence(verdict).item<double>();
  };
  const double threshold = route.stop(options.early_exit_loss).threshold;
  std::vector<std::string> skipped;
  double spent = 0, all = 0;
  bool sure = false;
  for (const std::string& stream : order) {
    auto value = sample.streams.find(stream);
    if (value == sample.streams.end()) continue;
    const double cost = cost_of(stream);
    all += cost;
    const bool dear = options.max_multiply_adds > 0 && spent + cost > options.max_multiply_adds;
    const bool late = options.max_latency_ms > 0 && watch.milliseconds() >= options.max_latency_ms;
    if (!features.empty() && (sure || dear || late)) {
      skipped.push_back(stream);
      continue;
    }
    features.push_back(encode(stream, value->second));
    spent += cost;
    if (options.early_exit) sure = confidence() >= threshold;
  }
  Details details;
  if (options.explain) {
    details.emplace_back();
    for (const Feature& feature : features) details[0][feature.stream] = feature.assessed;
  }
  Prediction out = answer(fuse(features), options, details).front();
  for (const std::string& stream : skipped)
    out.missing.erase(std::find(out.missing.begin(), out.missing.end(), stream));
  out.skipped = std::move(skipped);
  // Encoders that only pass features on cost nothing.
  out.compute_share = all > 0 ? spent / all : 1;
  out.latency_ms = watch.milliseconds();
  return out;
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

Prediction MultimodalModel::decode(const std::vector<Feature>& features,
                                   const PredictOptions& options) {
  at::NoGradGuard no_grad;
  const Stopwatch watch;
  Details details(1);
  for (const Feature& feature : features) details[0][feature.stream] = feature.assessed;
  Prediction out = answer(fuse(features), options, details).front();
  out.latency_ms = watch.milliseconds();
  return out;
}

models::FusedOutput MultimodalModel::fuse(const std::vector<Feature>& features) {
  for (const Feature& feature : features) processor(feature.stream);
  Gathered all = gather(network_->stream_names(), features);
  return network_->decode(all.encoded, all.present.to(device_), all.quality.to(device_));
}

at::Tensor MultimodalModel::label_embeddings(const std::vector<std::string>& labels,
                                             const std::string& task) {
  std::string text_stream;
  for (const std::string& name : network_->stream_names()) {
    if (network_->modality(name) == Modality::kText && text_stream.empty()) text_stream = name;
  }
  if (text_stream.empty()) {
    fail(ErrorCode::kInvalidArgument, "predict",
         "zero-shot labels need a model with a text stream");
  }
  std::vector<Sample> samples;
  for (const std::string& label : labels) {
    Sample sample;
    sample.streams[text_stream] = label;
    samples.push_back(std::move(sample));
  }
  std::vector<at::Tensor> parts;
  for (size_t begin = 0; begin < samples.size(); begin += static_cast<size_t>(max_batch_)) {
    size_t end = std::min(samples.size(), begin + static_cast<size_t>(max_batch_));
    std::vector<Sample> part(samples.begin() + static_cast<long>(begin),
                             samples.begin() + static_cast<long>(end));
    parts.push_back(get(network_->forward(prepare(part)).tasks.at(task), "embedding", "predict"));
  }
  return at::cat(parts, 0);
}

std::string MultimodalModel::task_of(const PredictOptions& options) const {
  std::string task = options.task.empty() ? task_ : options.task;
  if ((!options.labels.empty() || options.gallery.defined()) && options.task.empty()) {
    for (const std::string& name : network_->task_names()) {
      if (network_->task_config(name).get("type", "") == "retrieval") task = name;
    }
  }
  return task;
}

void MultimodalModel::search(const models::FusedOutput& output, const models::TrustModel& trusted,
                             const at::Tensor& gallery, const PredictOptions& options,
                             AnswerContext& context) const {
  const at::Tensor rows = has_query(*network_, context.task, output.present).nonzero().squeeze(1);
  if (rows.size(0) == 0) return;
  AnswerContext::Searched& found = context.searched;
  found.trust = &trusted;
  found.rows = rows;
  found.evidence = look_at_gallery(trusted, *network_, context.task, output, rows, gallery);
  const models::TrustModel::Verdict verdict = trusted.decide(found.evidence);
  if (trusted.has_sets()) found.sets = trusted.prediction_sets(verdict, options.coverage);
  context.logits.index_copy_(0, rows, verdict.log_probabilities);
  context.weights = output.weights.to(at::kCPU, at::kDouble);
  context.weights.index_copy_(0, rows, among_all_streams(*network_, context.task, verdict.weights));
  context.decided_by.resize(static_cast<size_t>(output.present.size(0)));
  for (int64_t i = 0; i < rows.size(0); ++i)
    context.decided_by[static_cast<size_t>(rows[i].item<int64_t>())] =
        models::to_string(verdict.deciders[static_cast<size_t>(i)]);
}

std::vector<Prediction> MultimodalModel::answer(const models::FusedOutput& output,
                                                const PredictOptions& options,
                                                const Details& details) {
  AnswerContext context{*network_, task_of(options), {}, {}, nullptr,
                        nullptr,   nullptr,          {}, {}, version()};
  const Json& task = network_->task_config(context.task);
  const TensorMap& raw = output.tasks.at(context.task);
  context.calibration = calibration_.find(context.task);
  const auto trusted = trust(context.task);
  if (kind_of(task) != TaskKind::kOther) context.trust = trusted.get();
  if (raw.count("logits")) {
    context.logits = raw.at("logits").to(at::kCPU, at::kFloat);
    context.labels = labels_of(task, context.logits.size(1));
    context.engine = engine(context.task);
  } else if (kind_of(task) == TaskKind::kLabels) {
    context.labels = labels_of(task, raw.at("label_logits").size(1));
  } else if (raw.count("embedding") && (!options.labels.empty() || options.gallery.defined())) {
    require(options.labels.empty() || !options.gallery.defined(), "predict",
            "expected labels or a gallery, got both");
    require(
        !options.gallery.defined() || (options.gallery.dim() == 2 && options.gallery.size(0) > 0 &&
                                       options.gallery.isfinite().all().item<bool>()),
        "predict", "expected finite embeddings [K, E] as a gallery");
    at::Tensor against = options.gallery.defined() ? options.gallery.to(device_, dtype_)
                                                   : label_embeddings(options.labels, context.task);
    context.logits = models::zero_shot_logits(raw.at("embedding"), against, raw.at("logit_scale"))
                         .to(at::kCPU, at::kFloat);
    context.labels = options.labels;
    const bool comparable =
        options.gallery.defined() ||
        network_->modality(gallery_stream(*network_, context.task)) == Modality::kText;
    require(options.gallery_names.empty() ||
                (options.gallery.defined() &&
                 static_cast<int64_t>(options.gallery_names.size()) == options.gallery.size(0)),
            "predict", "expected one name for every row of the gallery");
    context.candidates = options.gallery_names;
    if (trusted && comparable && against.size(0) >= 2)
      search(output, *trusted, against, options, context);
  }
  return make_predictions(output, context, options, details);
}

}  // namespace plait::api
