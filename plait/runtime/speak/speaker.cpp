#include "plait/runtime/speak/speaker.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "plait/core/error.h"
#include "plait/data/text/unicode.h"

namespace plait::runtime {
namespace {

constexpr const char* kUnit = "speak";
/// Attention takes the square of a sentence's length: longer ones are divided at a space.
constexpr size_t kMaxPhonemes = 1500;
/// Frames that the generator works on at once, so that memory does not grow with the sentence.
constexpr int64_t kMaxFrames = 1024;

std::vector<std::string> divide(const std::vector<std::string>& sentences) {
  std::vector<std::string> out;
  for (const std::string& sentence : sentences) {
    std::string part;
    size_t chars = 0;
    for (size_t at = 0; at < sentence.size();) {
      const size_t size = std::min(data::char_size(sentence[at]), sentence.size() - at);
      part.append(sentence, at, size);
      at += size;
      ++chars;
      const bool long_enough = chars > kMaxPhonemes - 200 && sentence[at - 1] == ' ';
      if (!long_enough && chars < kMaxPhonemes) continue;
      out.push_back(std::move(part));
      part.clear();
      chars = 0;
    }
    if (!part.empty()) out.push_back(std::move(part));
  }
  return out;
}

}  // namespace

void SpeakOptions::visit(ConfigVisitor& v) {
  v.field("speed", speed, "Above 1: faster", {.min = 0.1, .max = 10});
  v.field("noise", noise, "Variation of the sound; below 0: the voice's own", {.max = 2});
  v.field("noise_duration", noise_duration, "Variation of the rhythm; below 0: the voice's own",
          {.max = 2});
  v.field("seed", seed, "The same seed, the same sound");
  v.field("speaker", speaker, "Of a voice with several", {.min = 0, .max = 1e6});
  v.field("pause", pause, "Seconds of silence between sentences", {.min = 0, .max = 60});
  v.field("first_chunk", first_chunk, "Seconds of a stream's first piece",
          {.min = 0.01, .max = 600});
  v.field("longest_chunk", longest_chunk, "Seconds of its pieces at most",
          {.min = 0.01, .max = 600});
}

void SpeakOptions::validate() const {
  for (double value : {speed, noise, noise_duration, pause, first_chunk, longest_chunk})
    require(std::isfinite(value), kUnit, "expected finite numbers");
  require(speed >= 0.1 && speed <= 10, kUnit, "expected a speed of 0.1 to 10");
  require(noise <= 2 && noise_duration <= 2, kUnit, "expected noise of at most 2");
  require(pause >= 0 && pause <= 60, kUnit, "expected a pause of 0 to 60 seconds");
  require(first_chunk >= 0.01 && longest_chunk >= 0.01, kUnit,
          "expected pieces of 0.01 seconds or more");
}

Speaker::Speaker(models::LoadedVoice voice) : voice_(std::move(voice)) {
  const int64_t count = voice_.model->options().vocab_size;
  auto check = [&](int64_t id) {
    if (id < 0 || id >= count)
      fail(ErrorCode::kCorruptData, kUnit, "expected symbols below the model's vocab_size");
    return id;
  };
  for (const auto& [character, list] : voice_.voice.at("symbols").members()) {
    if (!data::is_utf8(character) || data::count_chars(character) != 1) continue;
    size_t at = 0;
    std::vector<int64_t>& ids = ids_[data::next_char(character, at)];
    for (int64_t id : list.as_ints()) ids.push_back(check(id));
  }
  for (const auto& [name, id] : {std::pair("begin", &begin_), {"end", &end_}, {"blank", &blank_}}) {
    const Json* said = voice_.voice.find(name);
    if (said && !said->is_null()) *id = check(said->as_int());
  }
  voice_.model->train(false);
  voice_.model->requires_grad_(false);
}

std::vector<int64_t> Speaker::symbols(const std::string& phonemes) const {
  const std::string valid = data::to_valid_utf8(phonemes);
  std::vector<int64_t> out;
  if (begin_) out.push_back(*begin_);
  if (blank_) out.push_back(*blank_);
  const size_t empty = out.size();
  for (size_t at = 0; at < valid.size();) {
    auto found = ids_.find(data::next_char(valid, at));
    if (found == ids_.end()) continue;
    out.insert(out.end(), found->second.begin(), found->second.end());
    if (blank_) out.push_back(*blank_);
  }
  if (out.size() == empty) return {};
  if (end_) out.push_back(*end_);
  return out;
}

models::VitsStyle Speaker::style(const SpeakOptions& options) const {
  models::VitsStyle style;
  style.length_scale = 1 / (voice_.model->options().speaking_rate * options.speed);
  style.noise_scale = options.noise;
  style.noise_scale_duration = options.noise_duration;
  return style;
}

models::VitsLatents Speaker::latents(const std::vector<int64_t>& symbols,
                                     const SpeakOptions& options, size_t index) const {
  at::NoGradGuard no_grad;
  const auto& config = voice_.model->options();
  at::Generator generator = at::detail::createCPUGenerator(
      static_cast<uint64_t>(options.seed) * 0x9E3779B97F4A7C15u + index);
  TensorMap inputs{{"input_ids", at::tensor(symbols, at::kLong).unsqueeze(0)}};
  if (config.num_speakers > 1) {
    require(options.speaker < config.num_speakers, kUnit,
            "expected speaker below the voices' number");
    inputs["speaker_id"] = at::full({1}, options.speaker, at::kLong);
  }
  for (auto& [name, tensor] : inputs)
    tensor = tensor.to((*voice_.model->named_parameters().begin()).second.device());
  return voice_.model->latents(inputs, style(options), [&](const std::vector<int64_t>& shape) {
    return at::randn(shape, generator, at::TensorOptions().dtype(at::kFloat));
  });
}

at::Tensor Speaker::sound(const models::VitsLatents& latents, int64_t begin, int64_t end) const {
  at::NoGradGuard no_grad;
  if (end - begin > kMaxFrames) {
    std::vector<at::Tensor> pieces;
    for (int64_t at = begin; at < end; at += kMaxFrames)
      pieces.push_back(sound(latents, at, std::min(at + kMaxFrames, end)));
    return at::cat(pieces);
  }
  const models::HifiGan& generator = voice_.model->generator();
  const int64_t from = std::max<int64_t>(begin - generator.context(), 0);
  const int64_t to = std::min(end + generator.context(), latents.frames.size(2));
  at::Tensor samples =
      generator.generate(latents.frames.narrow(2, from, to - from), latents.speaker);
  return samples.select(0, 0)
      .narrow(0, (begin - from) * generator.hop(), (end - begin) * generator.hop())
      .to(at::kCPU, at::kFloat);
}

at::Tensor Speaker::speak_symbols(const TensorMap& inputs, const SpeakOptions& options) const {
  at::NoGradGuard no_grad;
  options.validate();
  models::VitsLatents latents = voice_.model->latents(inputs, style(options));
  return voice_.model->generator().generate(latents.frames, latents.speaker);
}

at::Tensor Speaker::operator()(const std::vector<std::string>& sentences,
                               const SpeakOptions& options) const {
  SpeakOptions whole = options;
  whole.first_chunk = whole.longest_chunk = 600;
  SpokenStream stream(shared_from_this(), sentences, whole);
  std::vector<at::Tensor> pieces;
  while (auto piece = stream.next()) pieces.push_back(*piece);
  return pieces.empty() ? at::zeros({0}) : at::cat(pieces);
}

SpokenStream::SpokenStream(std::shared_ptr<const Speaker> speaker,
                           std::vector<std::string> sentences, const SpeakOptions& options)
    : speaker_(std::move(speaker)), sentences_(divide(sentences)), options_(options) {
  options_.validate();
}

std::optional<at::Tensor> SpokenStream::next() {
  const double frames_a_second =
      static_cast<double>(speaker_->sample_rate()) / static_cast<double>(speaker_->hop());
  auto frames = [&](double seconds) {
    return std::max<int64_t>(std::llround(seconds * frames_a_second), 1);
  };
  std::vector<at::Tensor> silence;
  while (!latents_.frames.defined()) {
    if (sentence_ == sentences_.size()) return std::nullopt;
    const std::vector<int64_t> symbols = speaker_->symbols(sentences_[sentence_]);
    if (!symbols.empty()) latents_ = speaker_->latents(symbols, options_, sentence_);
    frame_ = 0;
    if (chunk_ == 0) chunk_ = frames(std::min(options_.first_chunk, options_.longest_chunk));
    ++sentence_;
  }
  const int64_t total = latents_.frames.size(2);
  int64_t end = std::min(frame_ + chunk_, total);
  // No crumbs: what is left of a sentence comes with its last piece.
  if (total - end < chunk_ / 2) end = total;
  at::Tensor piece = speaker_->sound(latents_, frame_, end);
  chunk_ = std::min(2 * chunk_, frames(options_.longest_chunk));
  frame_ = end;
  if (frame_ == total) {
    latents_ = {};
    if (sentence_ < sentences_.size() && options_.pause > 0) {
      const auto count =
          static_cast<int64_t>(options_.pause * static_cast<double>(speaker_->sample_rate()));
      piece = at::cat({piece, at::zeros({count})});
    }
  }
  return piece;
}

}  // namespace plait::runtime
