#pragma once
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "plait/models/decoders/published_speech.h"
#include "plait/runtime/transcribe/options.h"
#include "plait/runtime/transcribe/whisper_tokens.h"
#include "plait/runtime/transcribe/word_times.h"

namespace plait::runtime {

/// A stretch of text, times in seconds from the start of the sound.
struct TranscriptSegment {
  double start = 0, end = 0;
  std::string text;
  std::vector<int64_t> tokens;   ///< With the times
  std::vector<TimedWord> words;  ///< When asked for
  double temperature = 0, mean_logprob = 0, compression_ratio = 0, no_speech = 0;
};

struct Transcript {
  std::string text;
  std::string language;
  double language_probability = 1;  ///< 1 when it was given
  std::vector<TranscriptSegment> segments;
  bool cancelled = false;  ///< What follows the last segment was not looked at
};

/// Speech of any length to text as openai/whisper's transcribe.py: windows of 30 s, each beginning
/// at the last time that the one before is sure of. Immutable; thread-safe.
class Transcriber {
 public:
  /// @throws Error kInvalidArgument when the parts do not fit.
  Transcriber(models::LoadedSpeech model, std::shared_ptr<const data::Tokenizer> tokenizer);

  /// `samples` [N] float32 at 16 kHz. `clips`: look at these stretches alone (seconds from, to; in
  /// order); empty: everything. @throws Error kInvalidArgument for a bad option or samples.
  Transcript operator()(const at::Tensor& samples, const TranscribeOptions& options = {},
                        const std::vector<std::pair<double, double>>& clips = {}) const;
  /// The language of the first 30 s and its probability.
  std::pair<std::string, double> detect_language(const at::Tensor& samples) const;

  const WhisperTokens& tokens() const { return tokens_; }
  const models::WhisperDecoder& decoder() const { return *model_.decoder; }
  static constexpr int64_t kSampleRate = 16000;

 private:
  struct Run;
  /// `count` frames from `frame` on, and behind them what `padding` says.
  models::CrossKeys read_window(const at::Tensor& mel, int64_t frame, int64_t count,
                                const std::string& padding = "silence") const;
  at::Tensor spectrogram(const at::Tensor& samples) const;
  void run_window(Run& run, int64_t seek, int64_t clip_end) const;
  void time_words(Run& run, std::vector<TranscriptSegment>& segments,
                  const models::CrossKeys& sound, int64_t seek, int64_t frames) const;

  models::LoadedSpeech model_;
  WhisperTokens tokens_;
  int64_t mels_, window_frames_;
  at::Tensor filters_;
};

}  // namespace plait::runtime
