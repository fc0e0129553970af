#pragma once
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "plait/api/multimodal_model.h"
#include "plait/runtime/transcribe/speech_stream.h"
#include "plait/runtime/transcribe/transcriber.h"
#include "plait/runtime/transcribe/voice_activity.h"

namespace plait::api {

using runtime::TranscribeOptions;
using runtime::Transcript;

/// Speech to text: Whisper with everything around it. Thread-safe after loading.
class SpeechRecognizer {
 public:
  /// A folder (ours, transformers' or CTranslate2's) or a name from `plait models list`, fetched
  /// when needed. @throws Error that names the folder and what is missing or unsupported.
  static std::shared_ptr<SpeechRecognizer> from_pretrained(
      const std::string& name_or_path = "whisper-base", const ModelOptions& options = {});

  /// A file, encoded bytes, a waveform or samples [N] at 16 kHz, of any length → text, language,
  /// segments and, when asked for, words. `speech_only`: look at those parts alone where the voice
  /// activity detector ("silero-vad", fetched when needed) hears speech. @throws Error for sound
  /// that does not decode and for options out of range.
  Transcript transcribe(const Value& audio, const TranscribeOptions& options = {},
                        bool speech_only = false) const;
  /// The language of the first 30 s and its probability.
  std::pair<std::string, double> detect_language(const Value& audio) const;
  /// Where somebody speaks: seconds from, to.
  std::vector<std::pair<double, double>> speech_segments(
      const Value& audio, const runtime::VoiceActivityOptions& options = {}) const;
  /// Follows live sound; `detect_voice` false: everything is taken for speech.
  std::unique_ptr<runtime::SpeechStream> stream(const runtime::StreamOptions& options = {},
                                                bool detect_voice = true) const;

  /// Codes of the languages that it knows.
  std::vector<std::string> languages() const;
  const std::string& dir() const { return dir_; }

 private:
  SpeechRecognizer() = default;
  std::shared_ptr<const models::SileroVad> detector() const;
  std::vector<std::pair<double, double>> find_speech(
      const at::Tensor& samples, const runtime::VoiceActivityOptions& options) const;

  std::string dir_;
  std::shared_ptr<const runtime::Transcriber> transcriber_;
  mutable std::mutex detector_mutex_;
  mutable std::shared_ptr<const models::SileroVad> detector_;
};

/// {"text", "language", "language_probability", "segments": [{"id", "start", "end",
/// "text", "temperature", "avg_logprob", "compression_ratio", "no_speech_prob", "words"?}]}, as
/// OpenAI's verbose JSON.
Json to_json(const Transcript& transcript);
/// Subtitles in SubRip's and WebVTT's formats.
std::string to_srt(const Transcript& transcript);
std::string to_vtt(const Transcript& transcript);

}  // namespace plait::api
