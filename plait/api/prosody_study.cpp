#include "plait/api/prosody_study.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "plait/core/error.h"
#include "plait/core/weights/model_folder.h"
#include "plait/data/speech/pitch.h"
#include "plait/train/optimizer.h"

namespace plait::api {
namespace {

constexpr const char* kUnit = "prosody";
constexpr int64_t kSymbols = 65536;
const double kSemitone = std::log(2.0) / 12;
const double kDecibel = std::log(10.0) / 20;

struct Scale {
  double mean = 0, spread = 1;
};

using Sentence = ProsodyData::Sentence;

/// All values of one kind that count, in a row.
at::Tensor gather(const std::vector<const Sentence*>& sentences, at::Tensor Sentence::*values,
                  bool voiced) {
  std::vector<at::Tensor> parts;
  for (const Sentence* s : sentences) {
    parts.push_back(voiced ? (s->*values).masked_select(s->voiced) : s->*values);
  }
  return at::cat(parts);
}

Scale scale_of(const at::Tensor& values) {
  require(values.numel() > 1, kUnit, "expected sentences with voiced sound");
  return {values.mean().item<double>(), std::max(values.std().item<double>(), 1e-4)};
}

struct Kind {
  at::Tensor Sentence::*values;
  const char* output;
  bool voiced;
  double unit;
  Scale scale = {};
};

struct Row {
  TensorMap inputs;
  std::vector<at::Tensor> targets, weights;
};

Row batch_of(const std::vector<const Sentence*>& rows, const std::vector<Kind>& kinds) {
  int64_t longest = 0;
  for (const Sentence* s : rows) longest = std::max(longest, s->ids.size(0));
  auto pad = [&](const at::Tensor& x) { return at::constant_pad_nd(x, {0, longest - x.size(0)}); };
  auto stack = [&](auto&& take) {
    std::vector<at::Tensor> parts;
    for (const Sentence* s : rows) parts.push_back(pad(take(*s)));
    return at::stack(parts);
  };
  Row out;
  out.inputs["input_ids"] = stack([](const Sentence& s) { return s.ids; });
  out.inputs["attention_mask"] = stack([](const Sentence& s) { return at::ones_like(s.ids); });
  for (const Kind& kind : kinds) {
    out.targets.push_back(stack(
        [&](const Sentence& s) { return (s.*kind.values - kind.scale.mean) / kind.scale.spread; }));
    out.weights.push_back(stack([&](const Sentence& s) {
      return kind.voiced ? s.voiced.to(at::kFloat) : at::ones_like(s.energy);
    }));
  }
  return out;
}

at::Tensor loss_of(models::ProsodyPredictor& model, const Row& row,
                   const std::vector<Kind>& kinds) {
  TensorMap said = model.forward(row.inputs);
  at::Tensor loss;
  for (size_t k = 0; k < kinds.size(); ++k) {
    at::Tensor error = (said.at(kinds[k].output) - row.targets[k]).abs() * row.weights[k];
    error = error.sum() / row.weights[k].sum().clamp_min(1);
    loss = loss.defined() ? loss + error : error;
  }
  return loss;
}

/// Mean absolute errors on `held_out`, and of predictors that know means of `train` alone.
ProsodyResult::Errors errors_of(models::ProsodyPredictor& model, const Kind& kind,
                                const std::vector<const Sentence*>& train,
                                const std::vector<const Sentence*>& held_out) {
  at::NoGradGuard no_grad;
  at::Tensor sums = at::zeros({kSymbols}), counts = at::zeros({kSymbols});
  for (const Sentence* s : train) {
    at::Tensor weight = kind.voiced ? s->voiced.to(at::kFloat) : at::ones_like(s->energy);
    sums.index_add_(0, s->ids, s->*kind.values * weight);
    counts.index_add_(0, s->ids, weight);
  }
  at::Tensor means =
      at::where(counts > 0, sums / counts.clamp_min(1), at::full_like(sums, kind.scale.mean));
  double model_sum = 0, mean_sum = 0, symbol_sum = 0, count = 0;
  for (const Sentence* s : held_out) {
    at::Tensor weight = kind.voiced ? s->voiced.to(at::kFloat) : at::ones_like(s->energy);
    at::Tensor said = model.forward({{"input_ids", s->ids.unsqueeze(0)}}).at(kind.output)[0];
    said = said * kind.scale.spread + kind.scale.mean;
    auto add = [&](double& sum, const at::Tensor& guess) {
      sum += ((guess - s->*kind.values).abs() * weight).sum().item<double>();
    };
    add(model_sum, said);
    add(mean_sum, at::full_like(said, kind.scale.mean));
    add(symbol_sum, means.index_select(0, s->ids));
    count += weight.sum().item<double>();
  }
  const double unit = std::max(count, 1.0) * kind.unit;
  return {model_sum / unit, mean_sum / unit, symbol_sum / unit};
}

std::vector<const Sentence*> pointers(const ProsodyData& data) {
  std::vector<const Sentence*> out;
  for (const Sentence& s : data.sentences) out.push_back(&s);
  return out;
}

}  // namespace

void ProsodyOptions::visit(ConfigVisitor& v) {
  v.field("epochs", epochs, "Times that everything is looked at", {.min = 1, .max = 10000});
  v.field("batch_size", batch_size, "Sentences at once", {.min = 1, .max = 4096});
  v.field("learning_rate", learning_rate, "Of AdamW at its highest", {.min = 1e-8, .max = 1});
  v.field("weight_decay", weight_decay, "Of AdamW", {.min = 0, .max = 1});
  v.field("seed", seed, "Of the weights and the order");
}

void ProsodyOptions::validate() const {
  require(epochs >= 1 && batch_size >= 1 && learning_rate > 0 && learning_rate <= 1, kUnit,
          "expected at least one epoch and sentence at once and a learning rate up to 1");
}

ProsodyData speak_for_prosody(const SpeechSynthesizer& voice, const std::vector<std::string>& texts,
                              int64_t seed, const std::function<void(double, double)>& progress) {
  const runtime::Speaker& speaker = voice.speaker();
  const int64_t hop = speaker.hop();
  SpeakOptions options;
  options.seed = seed;
  ProsodyData out;
  size_t number = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    if (progress) progress(static_cast<double>(i), static_cast<double>(texts.size()));
    for (const std::string& sentence : voice.phonemes(texts[i])) {
      const std::vector<int64_t> symbols = speaker.symbols(sentence);
      if (symbols.size() < 4) continue;
      models::VitsLatents latents = speaker.latents(symbols, options, number++);
      const int64_t frames = latents.frames.size(2);
      at::Tensor sound = speaker.sound(latents, 0, frames);
      at::Tensor hertz = data::pitch(sound, speaker.sample_rate(), hop);
      at::Tensor power = sound.reshape({frames, hop}).square().mean(1);
      // A symbol and the blank behind it are one: blanks are what stands at odd places.
      at::Tensor all = latents.durations[0].to(at::kCPU);
      const auto count = static_cast<int64_t>((symbols.size() + 1) / 2);
      at::Tensor lasts =
          at::constant_pad_nd(all, {0, 2 * count - all.size(0)}).reshape({count, 2}).sum(1);
      at::Tensor owner = at::repeat_interleave(at::arange(count, at::kLong), lasts);
      auto sum = [&](const at::Tensor& x) { return at::zeros({count}).index_add_(0, owner, x); };
      at::Tensor voiced = (hertz > 0).to(at::kFloat);
      at::Tensor voiced_frames = sum(voiced);
      Sentence s;
      s.ids = at::tensor(symbols, at::kLong).slice(0, 0, std::nullopt, 2).contiguous();
      s.log_duration = at::log1p(lasts.to(at::kFloat));
      s.voiced = voiced_frames >= 2;
      s.pitch = sum(at::log(hertz.clamp_min(1)) * voiced) / voiced_frames.clamp_min(1);
      s.energy = 0.5 * at::log(sum(power) / lasts.clamp_min(1).to(at::kFloat) + 1e-8);
      out.seconds +=
          static_cast<double>(sound.size(0)) / static_cast<double>(speaker.sample_rate());
      out.sentences.push_back(std::move(s));
    }
  }
  if (progress) progress(static_cast<double>(texts.size()), static_cast<double>(texts.size()));
  return out;
}

ProsodyResult train_prosody(const ProsodyData& train, const ProsodyData& held_out,
                            const ProsodyOptions& options, const std::string& folder,
                            const std::function<void(double, double)>& progress) {
  options.validate();
  require(train.sentences.size() >= 10 && !held_out.sentences.empty(), kUnit,
          "expected at least ten sentences to train on and one held out");
  std::vector<const Sentence*> learn, check;
  int64_t highest = 0;
  for (const ProsodyData* data : {&train, &held_out}) {
    for (const Sentence& s : data->sentences)
      highest = std::max(highest, s.ids.max().item<int64_t>());
  }
  require(highest < kSymbols, kUnit, "expected fewer symbols");
  for (size_t i = 0; i < train.sentences.size(); ++i)
    (i % 10 == 9 ? check : learn).push_back(&train.sentences[i]);
  std::vector<Kind> kinds = {{&Sentence::log_duration, "log_duration", false, 1},
                             {&Sentence::pitch, "pitch", true, kSemitone},
                             {&Sentence::energy, "energy", false, kDecibel}};
  for (Kind& kind : kinds) kind.scale = scale_of(gather(learn, kind.values, kind.voiced));

  models::ProsodyPredictor::Config config;
  config.vocab_size = std::max<int64_t>(highest + 1, 256);
  models::ProsodyPredictor model(config);
  model.initialize(static_cast<uint64_t>(options.seed));
  at::Generator generator = at::detail::createCPUGenerator(static_cast<uint64_t>(options.seed) + 1);
  model.set_generator(generator);
  model.requires_grad_(true);
  train::AdamW optimizer({{model.named_parameters(), 1.0, options.weight_decay}}, {});
  const int64_t batches =
      (static_cast<int64_t>(learn.size()) + options.batch_size - 1) / options.batch_size;
  const auto steps = static_cast<double>(options.epochs * batches);
  double best = std::numeric_limits<double>::infinity(), step = 0;
  TensorMap kept;
  for (int64_t epoch = 0; epoch < options.epochs; ++epoch) {
    model.train(true);
    at::Tensor order = at::randperm(static_cast<int64_t>(learn.size()), generator);
    for (int64_t b = 0; b < batches; ++b, ++step) {
      std::vector<const Sentence*> rows;
      for (int64_t i = b * options.batch_size;
           i < std::min<int64_t>((b + 1) * options.batch_size, order.size(0)); ++i)
        rows.push_back(learn[static_cast<size_t>(order[i].item<int64_t>())]);
      optimizer.zero_grad();
      at::Tensor loss = loss_of(model, batch_of(rows, kinds), kinds);
      loss.backward();
      optimizer.clip_grad_norm(1);
      optimizer.step(options.learning_rate * 0.5 * (1 + std::cos(M_PI * step / steps)));
    }
    model.train(false);
    at::NoGradGuard no_grad;
    const double error = loss_of(model, batch_of(check, kinds), kinds).item<double>();
    if (error < best) {
      best = error;
      kept.clear();
      for (const auto& [name, tensor] : model.state_dict()) kept[name] = tensor.clone();
    }
    if (progress) progress(static_cast<double>(epoch + 1), static_cast<double>(options.epochs));
  }
  require(!kept.empty(), kUnit, "expected training to keep finite numbers");
  model.requires_grad_(false);
  model.load_state_dict(kept);
  ProsodyResult result;
  result.validation_loss = best;
  const auto all = pointers(train), other = pointers(held_out);
  result.log_duration = errors_of(model, kinds[0], all, other);
  result.pitch = errors_of(model, kinds[1], all, other);
  result.energy = errors_of(model, kinds[2], all, other);
  for (const Sentence* s : other) result.symbols += s->ids.size(0);
  if (!folder.empty()) {
    Json scales = Json::object({});
    for (const Kind& kind : kinds)
      scales[kind.output] =
          Json::object({{"mean", kind.scale.mean}, {"spread", kind.scale.spread}});
    save_model_folder(
        folder,
        Json::object(
            {{"model_type", "plait-prosody"}, {"prosody", model.config()}, {"scales", scales}}),
        kept);
  }
  return result;
}

}  // namespace plait::api
