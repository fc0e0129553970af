#include "plait/api/multimodal_model.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <mutex>

#include "plait/api/locate.h"
#include "plait/core/device.h"
#include "plait/core/error.h"
#include "plait/core/feature_store.h"
#include "plait/core/log.h"
#include "plait/core/parallel.h"
#include "plait/core/weights/model_folder.h"
#include "plait/core/weights/safetensors.h"
#include "plait/models/quality/quality.h"
#include "plait/models/tasks/retrieval.h"
#include "plait/train/calibrate.h"
#include "plait/train/trainable.h"

namespace plait::api {
namespace {

namespace fs = std::filesystem;
constexpr int64_t kFormatVersion = 1;

std::string join(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
  return out;
}

/// The fewest labels whose probabilities reach `coverage`, most probable first.
std::vector<std::string> smallest_set(const at::Tensor& probabilities,
                                      const std::vector<std::string>& labels, double coverage) {
  auto [sorted, order] = probabilities.sort(0, /*descending=*/true);
  std::vector<std::string> out;
  double mass = 0;
  for (int64_t i = 0; i < order.size(0) && mass < coverage; ++i) {
    out.push_back(labels[order[i].item<int64_t>()]);
    mass += sorted[i].item<double>();
  }
  return out;
}

std::vector<std::string> labels_of(const Json& task, int64_t classes) {
  if (const Json* labels = task.find("labels")) return labels->as_strings();
  std::vector<std::string> out;
  for (int64_t i = 0; i < classes; ++i) out.push_back(std::to_string(i));
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

void check_format(const Json& config, const std::string& dir) {
  if (config.get("model_type", "") != "plait") {
    fail(ErrorCode::kInvalidArgument, "model",
         dir + "/config.json: expected model_type \"plait\", got \"" +
             config.get("model_type", "") + "\" (a published encoder loads with AutoModel)");
  }
  int64_t version = config.get("format_version", 0);
  if (version < 1 || version > kFormatVersion) {
    fail(ErrorCode::kInvalidArgument, "model",
         dir + "/config.json: expected format_version up to " + std::to_string(kFormatVersion) +
             ", got " + std::to_string(version) + "; a newer Plait wrote this folder");
  }
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

std::shared_ptr<MultimodalModel> MultimodalModel::load_default(const ModelOptions& options) {
  device_from_string(options.backend);
  const std::string& size = options.model_size;
  if (size != "tiny" && size != "base" && size != "large") {
    fail(ErrorCode::kInvalidArgument, "model",
         "expected a model_size of tiny, base, large, got \"" + size + "\"");
  }
  std::string dir = shipped_model("plait-" + size);
  if (dir.empty()) {
    fail(ErrorCode::kNotFound, "model",
         "the shipped model plait-" + size +
             " was not found beside the library; set PLAIT_HOME to the folder that holds "
             "models/plait-" +
             size);
  }
  return from_pretrained(dir, options);
}

std::shared_ptr<MultimodalModel> MultimodalModel::create(const Json& config, const std::string& dir,
                                                         const ModelOptions& options) {
  auto made = std::shared_ptr<MultimodalModel>(new MultimodalModel());
  made->network_ =
      models::FusedNetwork::create(config, dir.empty() ? "config" : dir + "/config.json");
  made->config_ = made->network_->config();
  made->config_["model_type"] = "plait";
  made->config_["format_version"] = kFormatVersion;
  made->config_["trained"] = config.get("trained", false);
  for (const std::string& name : made->network_->stream_names()) {
    const Json* processor = config.at("streams").at(name).find("processor");
    if (!processor)
      fail(ErrorCode::kInvalidArgument, "model",
           "config.json:streams." + name + ": expected a \"processor\"");
    made->processors_[name] =
        data::make_processor(*processor, (fs::path(dir) / "streams" / name).string(), name);
  }
  require(options.max_batch_size >= 1, "model", "expected max_batch_size of at least 1");
  made->max_batch_ = options.max_batch_size;
  made->task_ = options.task.empty() ? made->network_->task_names().front() : options.task;
  made->network_->task_config(made->task_);
  made->device_ = device_from_string(options.backend);
  made->dtype_ = dtype_from_string(options.dtype);
  return made;
}

std::shared_ptr<MultimodalModel> MultimodalModel::from_pretrained(const std::string& name_or_path,
                                                                  const ModelOptions& options) {
  std::string dir = locate_model(name_or_path);
  ModelFolder folder = ModelFolder::open(dir);
  check_format(folder.config(), dir);
  auto made = create(folder.config(), dir, options);
  made->config_["trained"] = folder.config().get("trained", false);
  if (!folder.config().get("trained", false) && !options.untrained) {
    fail(ErrorCode::kInvalidArgument, "model",
         dir +
             " holds a model with untrained parts; train it, or pass untrained=True to use it all "
             "the same");
  }
  made->network_->load_state_dict(folder.weights());
  made->network_->train_mode(false);
  made->network_->requires_grad_(false);
  made->network_->to(made->dtype_);
  made->network_->to(made->device_);
  if (std::string file = folder.file("calibration.json"); !file.empty())
    made->calibration_ = Json::read(file);
  if (std::string file = folder.file("README.md"); !file.empty())
    made->card_ = read_file(file, size_t{4} << 20);
  return made;
}

void MultimodalModel::save_pretrained(const std::string& dir, bool half) const {
  Json config = config_;
  for (const auto& [name, processor] : processors_) {
    std::string folder = (fs::path(dir) / "streams" / name).string();
    fs::create_directories(folder);
    processor->save(folder);
    config["streams"][name]["processor"] = processor->config();
  }
  TensorMap weights = network_->state_dict();
  if (half) {
    for (auto& [name, tensor] : weights) {
      if (tensor.is_floating_point()) tensor = tensor.to(at::kHalf);
    }
  }
  if (calibration_.size() > 0) calibration_.write((fs::path(dir) / "calibration.json").string());
  if (!card_.empty()) write_file_atomic((fs::path(dir) / "README.md").string(), card_);
  save_model_folder(dir, config, weights);
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
  Batch batch;
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
    std::vector<double> scores(samples.size(), 0.0);
    for_each_in_parallel(samples.size(), [&](size_t i) {
      auto it = samples[i].streams.find(name);
      if (it == samples[i].streams.end()) return;
      std::string where = samples[i].id.empty() ? name : name + " of " + samples[i].id;
      decoded[i] = data::decode(it->second, modality, where);
      rows[i] = &decoded[i];
      scores[i] = models::assess(decoded[i], modality).score;
    });
    for (size_t i = 0; i < samples.size(); ++i) {
      if (!rows[i]) continue;
      present[static_cast<int64_t>(i)] = true;
      quality[static_cast<int64_t>(i)] = scores[i];
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
  std::vector<Prediction> out;
  for (const Sample& sample : samples) {
    if (sample.streams.empty()) {
      fail(ErrorCode::kInvalidArgument, "predict",
           "expected at least one stream of: " + join(network_->stream_names()));
    }
  }
  for (size_t i = 0; cache_ && i < samples.size(); ++i) {
    auto start = std::chrono::steady_clock::now();
    std::vector<Feature> features;
    for (const auto& [stream, value] : samples[i].streams)
      features.push_back(encode(stream, value));
    models::FusedOutput output = fuse(features);
    double ms =
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    out.push_back(answer(output, options, ms).front());
  }
  if (cache_) return out;
  for (size_t begin = 0; begin < samples.size(); begin += static_cast<size_t>(max_batch_)) {
    auto start = std::chrono::steady_clock::now();
    size_t end = std::min(samples.size(), begin + static_cast<size_t>(max_batch_));
    std::vector<Sample> part(samples.begin() + static_cast<long>(begin),
                             samples.begin() + static_cast<long>(end));
    models::FusedOutput output = network_->forward(prepare(part));
    double ms =
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    for (Prediction& p : answer(output, options, ms)) out.push_back(std::move(p));
  }
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
  Batch batch = prepare({sample});
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
  auto start = std::chrono::steady_clock::now();
  models::FusedOutput output = fuse(features);
  double ms =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  return answer(output, options, ms).front();
}

models::FusedOutput MultimodalModel::fuse(const std::vector<Feature>& features) {
  const auto& names = network_->stream_names();
  std::map<std::string, models::EncoderOutput> encoded;
  at::Tensor present = at::zeros({1, static_cast<int64_t>(names.size())}, at::kBool);
  at::Tensor quality = at::zeros({1, static_cast<int64_t>(names.size())});
  for (const Feature& feature : features) {
    processor(feature.stream);
    if (!encoded.emplace(feature.stream, feature.encoded).second) {
      fail(ErrorCode::kInvalidArgument, "decode",
           "expected one feature per stream, got two of \"" + feature.stream + "\"");
    }
    auto m = std::find(names.begin(), names.end(), feature.stream) - names.begin();
    present[0][m] = true;
    quality[0][m] = feature.quality;
  }
  return network_->decode(encoded, present.to(device_), quality.to(device_));
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

std::vector<Prediction> MultimodalModel::answer(const models::FusedOutput& output,
                                                const PredictOptions& options,
                                                double milliseconds) {
  const auto& names = network_->stream_names();
  std::string task = options.task.empty() ? task_ : options.task;
  if (!options.labels.empty() && options.task.empty()) {
    for (const std::string& name : network_->task_names()) {
      if (network_->task_config(name).get("type", "") == "retrieval") task = name;
    }
  }
  require(options.coverage > 0 && options.coverage < 1, "predict",
          "expected a coverage between 0 and 1");
  const Json& task_config = network_->task_config(task);
  const TensorMap& raw = output.tasks.at(task);
  at::Tensor present = output.present.to(at::kCPU);
  at::Tensor weights = output.weights.to(at::kCPU, at::kDouble);
  at::Tensor quality = output.quality.to(at::kCPU, at::kDouble);
  const Json* calibration = calibration_.find(task);

  at::Tensor probabilities;
  std::vector<std::string> labels;
  if (raw.count("logits")) {
    at::Tensor logits = raw.at("logits").to(at::kCPU, at::kFloat);
    if (calibration) logits = train::apply_calibration(*calibration, logits, present, names);
    probabilities = at::softmax(logits.to(at::kDouble), -1);
    labels = labels_of(task_config, logits.size(1));
  } else if (raw.count("embedding") && !options.labels.empty()) {
    at::Tensor against = label_embeddings(options.labels, task);
    at::Tensor logits =
        models::zero_shot_logits(raw.at("embedding"), against, raw.at("logit_scale"))
            .to(at::kCPU, at::kFloat);
    if (calibration) logits = train::apply_calibration(*calibration, logits, present, names);
    probabilities = at::softmax(logits.to(at::kDouble), -1);
    labels = options.labels;
  }
  double threshold = calibration ? calibration->get("abstain_below", 0.0) : 0.0;

  std::vector<Prediction> out;
  for (int64_t i = 0; i < present.size(0); ++i) {
    Prediction p;
    p.task = task;
    p.model_version = version();
    p.latency_ms = milliseconds;
    for (size_t m = 0; m < names.size(); ++m) {
      auto column = static_cast<int64_t>(m);
      p.modality_weights[names[m]] = weights[i][column].item<double>();
      if (present[i][column].item<bool>()) {
        p.quality[names[m]] = quality[i][column].item<double>();
      } else {
        p.missing.push_back(names[m]);
      }
    }
    if (probabilities.defined()) {
      at::Tensor row = probabilities[i];
      int64_t best = row.argmax().item<int64_t>();
      p.label = labels[static_cast<size_t>(best)];
      p.confidence = row[best].item<double>();
      for (size_t k = 0; k < labels.size(); ++k)
        p.scores[labels[k]] = row[static_cast<int64_t>(k)].item<double>();
      p.prediction_set = smallest_set(row, labels, options.coverage);
      p.abstain = p.confidence < threshold;
    }
    if (raw.count("embedding")) {
      at::Tensor e = raw.at("embedding")[i].to(at::kCPU, at::kFloat).contiguous();
      p.embedding.assign(e.data_ptr<float>(), e.data_ptr<float>() + e.numel());
    }
    if (raw.count("mean")) {
      at::Tensor mean = raw.at("mean")[i].to(at::kCPU, at::kDouble);
      at::Tensor std = (raw.at("log_variance")[i].to(at::kCPU, at::kDouble) * 0.5).exp();
      for (int64_t r = 0; r < mean.numel(); ++r) {
        p.value.push_back(mean[r].item<double>());
        p.value_std.push_back(std[r].item<double>());
      }
    }
    out.push_back(std::move(p));
  }
  return out;
}

}  // namespace plait::api
