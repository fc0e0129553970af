#include "plait/api/speech_recognizer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "plait/api/locate.h"
#include "plait/core/device.h"
#include "plait/core/error.h"
#include "plait/core/weights/model_folder.h"
#include "plait/data/decode.h"
#include "plait/data/text/tokenizer.h"
#include "plait/models/registry.h"

namespace plait::api {
namespace {

constexpr int64_t kRate = runtime::Transcriber::kSampleRate;
/// Speech with shorter pauses is read as one, so that sentences stay whole.
constexpr double kJoinGap = 2;
constexpr double kClipPad = 0.4;

at::Tensor samples_of(const Value& audio) {
  data::AudioOptions options;
  options.sample_rate = kRate;
  options.max_seconds = 4 * 3600;
  return data::decode_audio_value(audio, "audio", options).samples;
}

std::string strip(const std::string& text) {
  const size_t first = text.find_first_not_of(" \n\t"), last = text.find_last_not_of(" \n\t");
  return first == std::string::npos ? "" : text.substr(first, last - first + 1);
}

std::string clock(double seconds, char point) {
  const auto ms = static_cast<long>(std::llround(std::max(seconds, 0.0) * 1000));
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, "%02ld:%02ld:%02ld%c%03ld", ms / 3600000, ms / 60000 % 60,
                ms / 1000 % 60, point, ms % 1000);
  return buffer;
}

Json words_of(const std::vector<runtime::TimedWord>& words) {
  Json out = Json::array();
  for (const runtime::TimedWord& word : words) {
    out.push_back(Json::object({{"word", word.text},
                                {"start", word.start},
                                {"end", word.end},
                                {"probability", word.probability}}));
  }
  return out;
}

}  // namespace

std::shared_ptr<SpeechRecognizer> SpeechRecognizer::from_pretrained(const std::string& name_or_path,
                                                                    const ModelOptions& options) {
  auto made = std::shared_ptr<SpeechRecognizer>(new SpeechRecognizer());
  made->dir_ = locate_model(name_or_path);
  models::LoadedSpeech model = models::load_published_speech(made->dir_);
  const c10::Device device = device_from_string(options.backend);
  const at::ScalarType dtype = dtype_from_string(options.dtype);
  for (models::Module* part : {static_cast<models::Module*>(model.encoder.get()),
                               static_cast<models::Module*>(model.decoder.get())}) {
    part->train(false);
    part->requires_grad_(false);
    part->to(dtype);
    part->to(device);
  }
  auto tokenizer = data::Tokenizer::from_file(made->dir_ + "/tokenizer.json");
  made->transcriber_ = std::make_shared<runtime::Transcriber>(std::move(model), tokenizer);
  return made;
}

std::shared_ptr<const models::SileroVad> SpeechRecognizer::detector() const {
  std::lock_guard lock(detector_mutex_);
  if (detector_) return detector_;
  const std::string dir = locate_model("silero-vad");
  ModelFolder folder = ModelFolder::open(dir);
  auto made = models::create_as<models::SileroVad>(folder.config().at("encoder"), dir);
  made->load_state_dict(folder.weights());
  made->train(false);
  made->requires_grad_(false);
  detector_ = made;
  return detector_;
}

Transcript SpeechRecognizer::transcribe(const Value& audio, const TranscribeOptions& options,
                                        bool speech_only) const {
  const at::Tensor samples = samples_of(audio);
  if (!speech_only) return (*transcriber_)(samples, options);
  std::vector<std::pair<double, double>> clips;
  const double duration = static_cast<double>(samples.size(0)) / static_cast<double>(kRate);
  for (auto [from, to] : find_speech(samples, {})) {
    from = std::max(0.0, from - kClipPad);
    to = std::min(duration, to + kClipPad);
    if (!clips.empty() && from - clips.back().second < kJoinGap) {
      clips.back().second = to;
    } else {
      clips.emplace_back(from, to);
    }
  }
  if (!clips.empty()) return (*transcriber_)(samples, options, clips);
  Transcript nothing;
  nothing.language = options.language;
  nothing.language_probability = options.language.empty() ? 0 : 1;
  return nothing;
}

std::pair<std::string, double> SpeechRecognizer::detect_language(const Value& audio) const {
  return transcriber_->detect_language(samples_of(audio));
}

std::vector<std::pair<double, double>> SpeechRecognizer::find_speech(
    const at::Tensor& samples, const runtime::VoiceActivityOptions& options) const {
  at::NoGradGuard no_grad;
  auto vad = detector();
  const int64_t chunk = vad->chunk();
  const int64_t whole = (samples.size(0) + chunk - 1) / chunk * chunk;
  at::Tensor padded = at::constant_pad_nd(samples, {0, whole - samples.size(0)});
  models::SileroVad::State state;
  std::vector<double> probabilities;
  // In blocks, so that memory stays bounded.
  constexpr int64_t kBlock = 1024;
  for (int64_t at = 0; at < whole; at += kBlock * chunk) {
    at::Tensor block = vad->speech(padded.slice(0, at, at + kBlock * chunk), state).contiguous();
    const float* values = block.const_data_ptr<float>();
    probabilities.insert(probabilities.end(), values, values + block.size(0));
  }
  std::vector<std::pair<double, double>> out;
  for (const auto& s : runtime::voice_segments(probabilities, samples.size(0), options)) {
    out.emplace_back(static_cast<double>(s.start) / static_cast<double>(kRate),
                     static_cast<double>(s.end) / static_cast<double>(kRate));
  }
  return out;
}

std::vector<std::pair<double, double>> SpeechRecognizer::speech_segments(
    const Value& audio, const runtime::VoiceActivityOptions& options) const {
  return find_speech(samples_of(audio), options);
}

std::unique_ptr<runtime::SpeechStream> SpeechRecognizer::stream(
    const runtime::StreamOptions& options, bool detect_voice) const {
  return std::make_unique<runtime::SpeechStream>(transcriber_, detect_voice ? detector() : nullptr,
                                                 options);
}

std::vector<std::string> SpeechRecognizer::languages() const {
  if (!transcriber_->tokens().multilingual) return {"en"};
  std::vector<std::string> codes;
  for (const auto& [code, id] : transcriber_->tokens().languages) codes.push_back(code);
  return codes;
}

Json to_json(const Transcript& transcript) {
  Json segments = Json::array();
  for (const runtime::TranscriptSegment& segment : transcript.segments) {
    Json row = Json::object({{"id", segments.size()},
                             {"start", segment.start},
                             {"end", segment.end},
                             {"text", segment.text},
                             {"temperature", segment.temperature},
                             {"avg_logprob", segment.mean_logprob},
                             {"compression_ratio", segment.compression_ratio},
                             {"no_speech_prob", segment.no_speech}});
    if (!segment.words.empty()) row["words"] = words_of(segment.words);
    segments.push_back(std::move(row));
  }
  Json out = Json::object({{"text", transcript.text},
                           {"language", transcript.language},
                           {"language_probability", transcript.language_probability},
                           {"segments", std::move(segments)}});
  if (transcript.cancelled) out["cancelled"] = true;
  return out;
}

std::string to_srt(const Transcript& transcript) {
  std::string out;
  int number = 0;
  for (const runtime::TranscriptSegment& segment : transcript.segments) {
    out += std::to_string(++number) + "\n" + clock(segment.start, ',') + " --> " +
           clock(segment.end, ',') + "\n" + strip(segment.text) + "\n\n";
  }
  return out;
}

std::string to_vtt(const Transcript& transcript) {
  std::string out = "WEBVTT\n\n";
  for (const runtime::TranscriptSegment& segment : transcript.segments) {
    out += clock(segment.start, '.') + " --> " + clock(segment.end, '.') + "\n" +
           strip(segment.text) + "\n\n";
  }
  return out;
}

}  // namespace plait::api
