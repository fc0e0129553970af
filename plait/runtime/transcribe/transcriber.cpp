#include "plait/runtime/transcribe/transcriber.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "plait/core/error.h"
#include "plait/data/audio/features.h"
#include "plait/runtime/transcribe/window_decoder.h"

namespace plait::runtime {
namespace {

constexpr const char* kUnit = "transcribe";
constexpr double kFramesPerSecond = 100;
constexpr int64_t kFramesPerToken = 2;
/// Above it a text is no good context for the next window.
constexpr double kHotTemperature = 0.5;

double seconds(int64_t frames) { return static_cast<double>(frames) / kFramesPerSecond; }

std::string strip(const std::string& text) {
  const size_t first = text.find_first_not_of(" \n\t"), last = text.find_last_not_of(" \n\t");
  return first == std::string::npos ? "" : text.substr(first, last - first + 1);
}

double rounded(double value) { return std::round(value * 100) / 100; }

}  // namespace

/// What goes from window to window.
struct Transcriber::Run {
  const TranscribeOptions& options;
  const WindowDecoder& decoder;
  at::Generator generator;
  at::Tensor mel;
  int64_t content = 0;  ///< Frames
  int64_t seek = 0;
  Transcript out = {};
  std::vector<int64_t> context = {};
  size_t context_from = 0;
  double last_speech = 0;
};

Transcriber::Transcriber(models::LoadedSpeech model,
                         std::shared_ptr<const data::Tokenizer> tokenizer)
    : model_(std::move(model)),
      tokens_(std::move(tokenizer), model_.decoder->vocab_size(), model_.generation) {
  const Json config = model_.encoder->config();
  mels_ = config.at("num_mel_bins").as_int();
  window_frames_ = kFramesPerToken * config.at("max_source_positions").as_int();
  filters_ = data::mel_filters(kSampleRate, 400, mels_, 0, 8000);
  for (const auto& [layer, head] : tokens_.alignment_heads) {
    require(layer >= 0 && layer < model_.decoder->layers() && head >= 0 &&
                head < model_.decoder->heads(),
            kUnit, "expected alignment heads that the model has");
  }
}

/// Of the sound and the silence of one window behind it, so that every window can be full.
at::Tensor Transcriber::spectrogram(const at::Tensor& samples) const {
  if (samples.dim() != 1 || samples.numel() == 0 || !at::isFloatingType(samples.scalar_type())) {
    fail(ErrorCode::kInvalidArgument, kUnit,
         "expected float samples [N] at 16 kHz, got " + describe(samples));
  }
  at::Tensor sound = samples.to(at::kCPU, at::kFloat);
  require(sound.isfinite().all().item<bool>(), kUnit, "expected finite samples");
  return data::whisper_log_mel(at::constant_pad_nd(sound, {0, window_frames_ * 160}).unsqueeze(0),
                               filters_)[0];
}

models::CrossKeys Transcriber::read_window(const at::Tensor& mel, int64_t frame, int64_t count,
                                           const std::string& padding) const {
  const int64_t content = mel.size(1) - window_frames_;
  // Behind the whole sound the spectrogram goes on by itself; a clip's end is followed by as much
  // as silence has.
  if (padding == "silence" && frame + count >= content) count = window_frames_;
  const double fill = padding == "silence" ? mel.min().item<double>() : 0;
  at::Tensor window = mel.narrow(1, frame, count);
  window = at::constant_pad_nd(window, {0, window_frames_ - count}, fill).unsqueeze(0);
  window = window.to(model_.decoder->device());
  return model_.decoder->read(model_.encoder->encode({{"input_features", window}}).tokens);
}

std::pair<std::string, double> Transcriber::detect_language(const at::Tensor& samples) const {
  at::NoGradGuard no_grad;
  if (!tokens_.multilingual) return {"en", 1};
  TranscribeOptions options;
  at::Tensor mel = spectrogram(samples.slice(0, 0, window_frames_ * 160));
  return WindowDecoder(*model_.decoder, tokens_, options)
      .detect_language(read_window(mel, 0, window_frames_));
}

Transcript Transcriber::operator()(const at::Tensor& samples, const TranscribeOptions& options,
                                   const std::vector<std::pair<double, double>>& clips) const {
  at::NoGradGuard no_grad;
  options.validate();
  if (!options.language.empty()) tokens_.prompt(options.language, options.task);
  WindowDecoder decoder(*model_.decoder, tokens_, options);
  Run run{
      options, decoder, at::detail::createCPUGenerator(static_cast<uint64_t>(options.seed)), {}};
  run.mel = spectrogram(samples);
  run.content = run.mel.size(1) - window_frames_;
  run.out.language = options.language;
  if (options.language.empty()) {
    std::tie(run.out.language, run.out.language_probability) =
        tokens_.multilingual ? decoder.detect_language(read_window(run.mel, 0, window_frames_))
                             : std::pair<std::string, double>{"en", 1};
  }
  if (const std::string prompt = strip(options.initial_prompt); !prompt.empty())
    run.context = tokens_.encode(" " + prompt);

  std::vector<std::pair<int64_t, int64_t>> parts;
  for (const auto& [from, to] : clips) {
    parts.emplace_back(
        std::llround(std::max(from, 0.0) * kFramesPerSecond),
        std::min(std::llround(to * kFramesPerSecond), static_cast<long long>(run.content)));
  }
  if (clips.empty()) parts.emplace_back(0, run.content);
  for (const auto& [from, to] : parts) {
    run.seek = std::max(run.seek, from);
    while (run.seek < to && !run.out.cancelled) {
      run_window(run, run.seek, to);
      if (options.progress)
        options.progress(seconds(std::min(run.seek, run.content)), seconds(run.content));
      run.out.cancelled = options.cancelled && options.cancelled();
    }
  }
  for (const TranscriptSegment& segment : run.out.segments) run.out.text += segment.text;
  return std::move(run.out);
}

void Transcriber::run_window(Run& run, int64_t seek, int64_t clip_end) const {
  const TranscribeOptions& options = run.options;
  const int64_t frames = std::min({window_frames_, run.content - seek, clip_end - seek});
  const models::CrossKeys sound = read_window(run.mel, seek, frames, options.padding);
  const std::vector<int64_t> previous(run.context.begin() + static_cast<int64_t>(run.context_from),
                                      run.context.end());
  const WindowText found = run.decoder.decode(sound, previous, run.out.language, run.generator);
  if (found.no_speech > options.no_speech_threshold &&
      found.mean_logprob <= options.logprob_threshold) {
    run.seek = seek + frames;
    return;
  }

  const std::vector<int64_t>& ids = found.tokens;
  auto is_time = [&](size_t i) { return ids[i] >= tokens_.first_time; };
  auto time_of = [&](size_t i) { return ids[i] - tokens_.first_time; };
  std::vector<TranscriptSegment> segments;
  auto add = [&](double from, double to, size_t begin, size_t end) {
    TranscriptSegment segment;
    segment.start = from;
    segment.end = to;
    segment.tokens.assign(ids.begin() + static_cast<int64_t>(begin),
                          ids.begin() + static_cast<int64_t>(end));
    segment.text = tokens_.decode(segment.tokens);
    segment.temperature = found.temperature;
    segment.mean_logprob = found.mean_logprob;
    segment.compression_ratio = found.compression_ratio;
    segment.no_speech = found.no_speech;
    segments.push_back(std::move(segment));
  };
  const double offset = seconds(seek);
  const size_t n = ids.size();
  // A single time at the end: nobody speaks after it.
  const bool single_end = n >= 2 && is_time(n - 1) && !is_time(n - 2);
  std::vector<size_t> cuts;
  for (size_t i = 1; i < n; ++i) {
    if (is_time(i - 1) && is_time(i)) cuts.push_back(i);
  }
  if (!cuts.empty()) {
    if (single_end) cuts.push_back(n);
    size_t begin = 0;
    for (size_t end : cuts) {
      add(offset + seconds(time_of(begin) * kFramesPerToken),
          offset + seconds(time_of(end - 1) * kFramesPerToken), begin, end);
      begin = end;
    }
    // What follows the last pair is not finished: the next window begins there.
    run.seek = seek + (single_end ? frames : time_of(begin - 1) * kFramesPerToken);
  } else {
    double duration = seconds(frames);
    for (size_t i = n; i-- > 0;) {
      if (!is_time(i)) continue;
      if (time_of(i) > 0) duration = seconds(time_of(i) * kFramesPerToken);
      break;
    }
    add(offset, offset + duration, 0, n);
    run.seek = seek + frames;
  }

  if (options.words) {
    time_words(run, segments, sound, seek, frames);
    double last = 0;
    for (const TranscriptSegment& segment : segments) {
      if (!segment.words.empty()) last = segment.words.back().end;
    }
    if (!single_end && last > offset) run.seek = std::llround(last * kFramesPerSecond);
    if (last > 0) run.last_speech = last;
  }
  // A window must end, whatever the model says of its times.
  if (run.seek <= seek) run.seek = seek + frames;
  for (TranscriptSegment& segment : segments) {
    if (segment.start == segment.end || strip(segment.text).empty()) continue;
    run.context.insert(run.context.end(), segment.tokens.begin(), segment.tokens.end());
    run.out.segments.push_back(std::move(segment));
  }
  if (!options.condition_on_previous_text || found.temperature > kHotTemperature)
    run.context_from = run.context.size();
}

void Transcriber::time_words(Run& run, std::vector<TranscriptSegment>& segments,
                             const models::CrossKeys& sound, int64_t seek, int64_t frames) const {
  std::vector<std::vector<int64_t>> texts;
  std::vector<int64_t> all;
  for (const TranscriptSegment& segment : segments) {
    texts.emplace_back();
    for (int64_t id : segment.tokens) {
      if (id < tokens_.end) texts.back().push_back(id);
    }
    all.insert(all.end(), texts.back().begin(), texts.back().end());
  }
  std::vector<TimedWord> timed =
      align_words(*model_.decoder, tokens_, sound, all, run.out.language, frames);
  double median = 0, longest = 0;
  tidy_words(timed, median, longest);
  const double offset = seconds(seek);
  size_t next = 0;
  double last_speech = run.last_speech;
  for (size_t s = 0; s < segments.size(); ++s) {
    TranscriptSegment& segment = segments[s];
    std::vector<TimedWord>& words = segment.words;
    for (size_t seen = 0; next < timed.size() && seen < texts[s].size(); ++next) {
      seen += timed[next].tokens.size();
      if (timed[next].text.empty()) continue;
      words.push_back(timed[next]);
      words.back().start = rounded(offset + timed[next].start);
      words.back().end = rounded(offset + timed[next].end);
    }
    if (words.empty()) continue;
    TimedWord &first = words.front(), &last = words.back();
    // After a pause the first words tend to begin too early.
    const bool two = words.size() > 1;
    if (first.end - last_speech > 4 * median &&
        (first.end - first.start > longest || (two && words[1].end - first.start > 2 * longest))) {
      if (two && words[1].end - words[1].start > longest) {
        const double boundary = std::max(words[1].end / 2, words[1].end - longest);
        first.end = words[1].start = boundary;
      }
      first.start = std::max(0.0, first.end - longest);
    }
    // The segment's own times hold where the words' are far beyond them.
    if (segment.start < first.end && segment.start - 0.5 > first.start) {
      first.start = std::max(0.0, std::min(first.end - median, segment.start));
    } else {
      segment.start = first.start;
    }
    if (segment.end > last.start && segment.end + 0.5 < last.end) {
      last.end = std::max(last.start + median, segment.end);
    } else {
      segment.end = last.end;
    }
    last_speech = segment.end;
  }
}

}  // namespace plait::runtime
