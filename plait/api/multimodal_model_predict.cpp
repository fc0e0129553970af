// The ways to an answer: all streams at once, one after the other, from features.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <chrono>

#include "plait/api/multimodal_model.h"
#include "plait/api/trust_fitting.h"
#include "plait/core/error.h"
#include "plait/core/join.h"
#include "plait/models/quality/quality.h"
#include "plait/runtime/trust_engine.h"

namespace plait::api {
namespace {

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

}  // namespace

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

}  // namespace plait::api
