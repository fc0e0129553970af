// fusion_overhead OUTPUT.json MODEL... [--repeats N]: what the trust fusion costs beside the rest
// of a model that `plait calibrate` made: multiply-adds of one item, and milliseconds at batch 1
// and 32, one thread, all parts in turn in one run. Shares are of the median processor time, which
// other programs on the machine disturb less than the clock's. The inputs are synthetic (a
// sentence, shapes, a voiced sound, numbers), which changes no cost but that of the quality
// estimators a little.
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <functional>

#include "plait/api/multimodal_model.h"
#include "plait/api/trust_fitting.h"
#include "plait/core/device.h"
#include "plait/core/error.h"
#include "plait/core/parallel.h"
#include "plait/data/decode.h"
#include "plait/runtime/multiply_adds.h"
#include "plait/runtime/trust_engine.h"

namespace plait::bench {
namespace {

constexpr double kMostMultiplyAdds = 0.03, kMostLatency = 0.05;

Value make_value(Modality modality, const Json& processor, uint64_t seed) {
  auto generator = at::detail::createCPUGenerator(seed);
  switch (modality) {
    case Modality::kText:
      return "a grinning face with tears of joy in front of house number " + std::to_string(seed);
    case Modality::kImage: {
      at::Tensor across = at::linspace(-1, 1, 128), down = across.unsqueeze(1);
      at::Tensor disc = (across * across + down * down).lt(0.5).to(at::kFloat);
      at::Tensor noise = 4 * at::randn({128, 128, 3}, generator);
      return (disc.unsqueeze(2) * 160 + 40 + noise).clamp(0, 255).to(at::kByte);
    }
    case Modality::kAudio: {
      constexpr int64_t kRate = 16000;
      at::Tensor t = at::arange(kRate * 3 / 2) / kRate;
      at::Tensor voice = (2 * M_PI * 140 * t).sin() + 0.5 * (2 * M_PI * 1300 * t).sin();
      at::Tensor loudness = (2 * M_PI * 2 * t).sin().clamp_min(0);
      return Waveform{0.3 * voice * loudness + 0.002 * at::randn(t.sizes(), generator), kRate};
    }
    case Modality::kSeries:
      return at::randn(
                 {processor.get("length", int64_t{128}), processor.get("channels", int64_t{3})},
                 generator)
          .cumsum(0);
    default: return at::randn({processor.at("features").as_int()}, generator, at::kDouble);
  }
}

/// One part of an answer for a batch; all share what the parts before gave.
struct Part {
  std::string name;
  std::function<void()> work;
  std::vector<double> milliseconds = {}, processor = {};
};

/// Milliseconds that all threads of this process have worked.
double processor_time() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) * 1e-6;
}

Json summary(std::vector<double> times) {
  std::sort(times.begin(), times.end());
  auto at = [&](double share) {
    return times[static_cast<size_t>(share * static_cast<double>(times.size() - 1))];
  };
  return Json::object({{"min", times.front()}, {"p50", at(0.5)}, {"p95", at(0.95)}});
}

std::vector<Sample> make_samples(const api::MultimodalModel& model, int64_t batch) {
  std::vector<Sample> out(static_cast<size_t>(batch));
  for (size_t i = 0; i < out.size(); ++i) {
    for (const std::string& stream : model.network().stream_names())
      out[i].streams[stream] =
          make_value(model.network().modality(stream), model.processor(stream).config(), i);
  }
  return out;
}

/// {"multiply_adds": {part: per item}, "milliseconds": {part: {"min", "p50", "p95"}},
/// "processor_milliseconds": the same}
Json measure(api::MultimodalModel& model, const std::string& task, int64_t batch, int repeats) {
  models::FusedNetwork& network = model.network();
  const auto& names = network.stream_names();
  const auto trust = model.trust(task);
  const runtime::TrustEngine engine(trust);
  const std::vector<Sample> samples = make_samples(model, batch);
  // Decoding is part of the inputs: models without quality estimators decode as well.
  std::vector<std::pair<Modality, Value>> decoded;
  for (const Sample& sample : samples) {
    for (const auto& [stream, value] : sample.streams) {
      const Modality modality = network.modality(stream);
      decoded.emplace_back(modality, data::decode(value, modality, stream));
    }
  }
  Batch prepared;
  std::map<std::string, models::EncoderOutput> encoded;
  models::FusedOutput output;
  at::Tensor present = at::ones({batch, static_cast<int64_t>(names.size())}, at::kBool);
  at::Tensor quality = at::ones(present.sizes());
  auto logits = [&] { return output.tasks.at(task).at("logits"); };
  std::vector<at::Tensor> pooled;
  std::vector<Part> parts{
      {"quality",
       [&] {
         for (const auto& [modality, value] : decoded) models::assess(value, modality);
       }},
      {"inputs_and_quality", [&] { prepared = model.prepare(samples); }},
      {"encoders",
       [&] {
         for (const auto& [stream, inputs] : prepared.streams)
           encoded[stream] = network.encode(stream, inputs);
       }},
      {"network_fusion", [&] { output = network.decode(encoded, present, quality); }},
      {"trust",
       [&] {
         pooled.clear();
         for (const std::string& name : names) pooled.push_back(output.pooled.at(name));
         auto verdict = engine.decide(pooled, output.quality, output.present, logits());
         engine.prediction_sets(verdict, 0.9);
       }},
      {"trust_by_tensors",
       [&] {
         auto verdict = trust->decide(
             api::gather_evidence(*trust, names, output.pooled, output.quality, output.present),
             logits());
         trust->prediction_sets(verdict, 0.9);
       }},
      {"predict", [&] { model.predict_batch(samples); }}};
  Json out = Json::object({});
  for (Part& part : parts) {
    const int64_t count = runtime::count_multiply_adds(part.work);
    out["multiply_adds"][part.name] = count / batch;
  }
  for (int i = 0; i < repeats; ++i) {
    for (Part& part : parts) {
      const auto start = std::chrono::steady_clock::now();
      const double before = processor_time();
      part.work();
      const double worked = processor_time() - before;
      const std::chrono::duration<double, std::milli> took =
          std::chrono::steady_clock::now() - start;
      // The first times fill caches.
      if (i < repeats / 10) continue;
      part.milliseconds.push_back(took.count());
      part.processor.push_back(worked);
    }
  }
  for (const Part& part : parts) {
    out["milliseconds"][part.name] = summary(part.milliseconds);
    out["processor_milliseconds"][part.name] = summary(part.processor);
  }
  return out;
}

Json measure_model(const std::string& path, int repeats, Json& bars) {
  auto model = api::MultimodalModel::from_pretrained(path);
  const std::string name = std::filesystem::path(path).filename().string();
  std::string task;
  for (const std::string& own : model->network().task_names()) {
    if (task.empty() && model->trust(own)) task = own;
  }
  require(!task.empty(), "benchmark", "expected a model with a trust fusion (plait calibrate)");
  Json out = Json::object({{"batch_1", measure(*model, task, 1, repeats)},
                           {"batch_32", measure(*model, task, 32, std::max(repeats / 30, 5))}});
  const Json &work = out.at("batch_1").at("multiply_adds"),
             &time = out.at("batch_1").at("processor_milliseconds");
  auto spent = [&](const char* part) { return work.at(part).as_double(); };
  auto took = [&](const char* part) { return time.at(part).at("p50").as_double(); };
  auto bar = [&](const std::string& what, double value, double most) {
    bars.push_back(Json::object(
        {{"name", name + ": " + what}, {"value", value}, {"bar", most}, {"holds", value <= most}}));
  };
  bar("gate and probes, share of multiply-adds",
      (spent("quality") + spent("trust")) / spent("predict"), kMostMultiplyAdds);
  bar("gate and experts, share of latency", took("trust") / took("predict"), kMostLatency);
  bar("gate, experts and quality estimators, share of latency",
      (took("trust") + took("quality")) / took("predict"), kMostLatency);
  return out;
}

void print(const std::string& name, const Json& result) {
  for (const char* batch : {"batch_1", "batch_32"}) {
    std::printf("%s, %s\n  %-20s %14s %10s %10s %10s %10s\n", name.c_str(), batch, "part",
                "multiply-adds", "cpu p50", "min ms", "p50 ms", "p95 ms");
    for (const auto& [part, times] : result.at(batch).at("milliseconds").members()) {
      std::printf("  %-20s %14.0f %10.3f %10.3f %10.3f %10.3f\n", part.c_str(),
                  result.at(batch).at("multiply_adds").at(part).as_double(),
                  result.at(batch).at("processor_milliseconds").at(part).at("p50").as_double(),
                  times.at("min").as_double(), times.at("p50").as_double(),
                  times.at("p95").as_double());
    }
  }
}

}  // namespace

int overhead(const std::string& path, const std::vector<std::string>& models, int repeats) {
  at::NoGradGuard no_grad;
  set_threads(1);
  Json out = Json::object({{"bars", Json::array()},
                           {"cpu", describe_devices().at("cpu").at("model")},
                           {"loops", runtime::vector_loops().front()->name},
                           {"threads", 1},
                           {"repeats", repeats}});
  for (const std::string& model : models) {
    const std::string name = std::filesystem::path(model).filename().string();
    out["models"][name] = measure_model(model, repeats, out["bars"]);
    print(name, out.at("models").at(name));
  }
  for (const Json& bar : out.at("bars").items()) {
    std::printf("%s: %.4f (bar %.2f, %s)\n", bar.at("name").as_string().c_str(),
                bar.at("value").as_double(), bar.at("bar").as_double(),
                bar.at("holds").as_bool() ? "holds" : "missed");
  }
  out.write(path);
  return 0;
}

}  // namespace plait::bench

int main(int argc, char** argv) try {
  std::vector<std::string> models;
  int repeats = 300;
  for (int i = 2; i < argc; ++i) {
    if (std::string(argv[i]) == "--repeats" && i + 1 < argc) {
      repeats = std::max(std::stoi(argv[++i]), 10);
    } else {
      models.emplace_back(argv[i]);
    }
  }
  if (models.empty()) {
    std::fprintf(stderr, "usage: fusion_overhead OUTPUT.json MODEL... [--repeats N]\n");
    return 2;
  }
  return plait::bench::overhead(argv[1], models, repeats);
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
