#include "plait/runtime/transcribe/speech_stream.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "plait/core/error.h"

namespace plait::runtime {
namespace {

constexpr const char* kUnit = "speech stream";
constexpr double kLead = 0.5;  ///< Seconds of silence that are kept in front of speech
constexpr double kTail = 0.3;  ///< … and behind it: in longer silence the model makes words up
constexpr size_t kContextBytes = 200;

/// For comparing: letters and digits alone, in lower case (ASCII; other bytes as they are).
std::string plain(const std::string& word) {
  std::string out;
  for (char c : word) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x80 || std::isalnum(byte)) out += static_cast<char>(std::tolower(byte));
  }
  return out;
}

std::string joined(const std::vector<TimedWord>& words) {
  std::string out;
  for (const TimedWord& word : words) out += word.text;
  return out;
}

}  // namespace

void StreamOptions::visit(ConfigVisitor& v) {
  transcribe.visit(v);
  v.field("step", step, "Seconds of new sound between two looks at it", {.min = 0.1, .max = 30});
  v.field("min_silence", min_silence, "Seconds of silence that end an utterance",
          {.min = 0.1, .max = 10});
  v.field("max_window", max_window, "Seconds of sound kept for one look", {.min = 4, .max = 29});
  v.field("threshold", threshold, "Probability from which on a chunk is speech",
          {.min = 0.01, .max = 1});
}

void StreamOptions::validate() const { transcribe.validate(); }

SpeechStream::SpeechStream(std::shared_ptr<const Transcriber> transcriber,
                           std::shared_ptr<const models::SileroVad> detector,
                           const StreamOptions& options)
    : transcriber_(std::move(transcriber)),
      detector_(std::move(detector)),
      options_(options),
      buffer_(at::empty({0}, at::kFloat)),
      unheard_(at::empty({0}, at::kFloat)) {
  require(transcriber_ != nullptr, kUnit, "expected a transcriber");
  options_.validate();
  options_.transcribe.words = true;
  if (!options_.transcribe.language.empty())
    transcriber_->tokens().prompt(options_.transcribe.language, options_.transcribe.task);
}

std::vector<StreamUpdate> SpeechStream::accept(const at::Tensor& samples) {
  require(!finished_, kUnit, "expected no more sound after the end");
  if (samples.dim() != 1 || !at::isFloatingType(samples.scalar_type())) {
    fail(ErrorCode::kInvalidArgument, kUnit,
         "expected float samples [N] at 16 kHz, got " + describe(samples));
  }
  at::NoGradGuard no_grad;
  at::Tensor sound = samples.detach().to(at::kCPU, at::kFloat);
  require(sound.numel() == 0 || sound.isfinite().all().item<bool>(), kUnit,
          "expected finite samples");
  std::vector<StreamUpdate> updates;
  // No longer than a step at once, so that a long chunk is followed like many short ones.
  const auto most = static_cast<int64_t>(options_.step * kRate);
  for (int64_t at = 0; at < sound.size(0); at += most) {
    at::Tensor part = sound.slice(0, at, at + most);
    buffer_ = at::cat({buffer_, part});
    listen(part);
    if (spoke_ < 0) {
      drop_before(now() - kLead);
      looked_ = start_;
    } else if (detector_ && now() - spoke_ >= options_.min_silence) {
      updates.push_back(end_utterance());
    } else if (now() - looked_ >= options_.step - 1e-6) {
      StreamUpdate update = look();
      if (!update.text.empty() || !update.tentative.empty()) updates.push_back(std::move(update));
    }
  }
  return updates;
}

std::vector<StreamUpdate> SpeechStream::finish() {
  at::NoGradGuard no_grad;
  std::vector<StreamUpdate> updates;
  if (!finished_ && spoke_ >= 0 && buffer_.numel() > 0) updates.push_back(end_utterance());
  finished_ = true;
  return updates;
}

void SpeechStream::listen(const at::Tensor& samples) {
  if (!detector_) {
    spoke_ = now();
    return;
  }
  unheard_ = at::cat({unheard_, samples});
  const int64_t whole = unheard_.size(0) / detector_->chunk() * detector_->chunk();
  at::Tensor speech = detector_->speech(unheard_.slice(0, 0, whole), state_) >= options_.threshold;
  unheard_ = unheard_.slice(0, whole).clone();
  at::Tensor spoken = speech.nonzero();
  if (spoken.numel() == 0) return;
  const int64_t behind = whole - (spoken.max().item<int64_t>() + 1) * detector_->chunk();
  spoke_ = now() - static_cast<double>(unheard_.size(0) + behind) / kRate;
}

void SpeechStream::drop_before(double time) {
  const auto samples =
      std::clamp<int64_t>(static_cast<int64_t>((time - start_) * kRate), 0, buffer_.size(0));
  if (samples == 0) return;
  buffer_ = buffer_.slice(0, samples).clone();
  start_ += static_cast<double>(samples) / kRate;
  while (!held_.empty() && held_.front().end <= start_) held_.erase(held_.begin());
}

/// Words of the kept sound that are not final yet, times in the stream's.
std::vector<TimedWord> SpeechStream::hypothesis() {
  TranscribeOptions how = options_.transcribe;
  how.progress = {};
  // The context is what was said before the kept sound: words of it would be left out as said.
  const std::string context = text_.substr(0, text_.size() - joined(held_).size());
  size_t from = context.size() > kContextBytes ? context.size() - kContextBytes : 0;
  while (from < context.size() && (static_cast<unsigned char>(context[from]) & 0xC0) == 0x80)
    ++from;
  if (!context.empty()) how.initial_prompt = context.substr(from);
  at::Tensor sound = buffer_;
  if (detector_)
    sound = sound.slice(
        0, 0, std::max(static_cast<int64_t>((spoke_ + kTail - start_) * kRate), int64_t{1600}));
  Transcript found = (*transcriber_)(sound, how);
  if (options_.transcribe.language.empty()) options_.transcribe.language = found.language;
  looked_ = now();
  std::vector<TimedWord> words;
  for (const TranscriptSegment& segment : found.segments) {
    for (TimedWord word : segment.words) {
      word.start += start_;
      word.end += start_;
      if ((word.start + word.end) / 2 > agreed_) words.push_back(std::move(word));
    }
  }
  return words;
}

void SpeechStream::take(StreamUpdate& update, std::vector<TimedWord> words) {
  if (words.empty()) return;
  if (update.words.empty()) update.start = words.front().start;
  update.end = words.back().end;
  const std::string text = joined(words);
  update.text += text;
  text_ += text;
  held_.insert(held_.end(), words.begin(), words.end());
  agreed_ = std::max(agreed_, words.back().end);
  update.words.insert(update.words.end(), words.begin(), words.end());
}

StreamUpdate SpeechStream::look() {
  std::vector<TimedWord> words = hypothesis();
  size_t same = 0;
  while (same < std::min(words.size(), before_.size()) &&
         plain(words[same].text) == plain(before_[same].text))
    ++same;
  const auto middle = words.begin() + static_cast<int64_t>(same);
  std::vector<TimedWord> rest(middle, words.end());
  words.erase(middle, words.end());
  StreamUpdate update;
  take(update, std::move(words));
  if (now() - start_ > options_.max_window) {
    // Too long for another look: what is agreed on goes, or, if nothing is, everything.
    if (agreed_ - start_ < 1) take(update, std::exchange(rest, {}));
    drop_before(std::max(agreed_, now() - options_.max_window / 2));
  }
  update.tentative = joined(rest);
  before_ = std::move(rest);
  return update;
}

StreamUpdate SpeechStream::end_utterance() {
  StreamUpdate update;
  take(update, hypothesis());
  update.ends_utterance = true;
  before_.clear();
  spoke_ = -1;
  drop_before(now() - kLead);
  agreed_ = std::max(agreed_, start_);
  looked_ = start_;
  return update;
}

}  // namespace plait::runtime
