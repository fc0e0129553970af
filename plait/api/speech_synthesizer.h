#pragma once
#include <memory>
#include <string>
#include <vector>

#include "plait/api/multimodal_model.h"
#include "plait/data/packages/cache.h"
#include "plait/data/speech/phonemizer.h"
#include "plait/runtime/speak/speaker.h"

namespace plait::api {

using runtime::SpeakOptions;

/// Text to speech: a text front end and a voice (VITS). Thread-safe after loading.
class SpeechSynthesizer {
 public:
  /// A folder (ours, VITS in transformers' layout, or Piper's .onnx with its .onnx.json) or a name
  /// from `plait models list`, fetched when needed. `front_end`: "lexicon", "espeak" (the program
  /// espeak-ng, where it is installed), "letters"; "" is what the voice wants and the folder has.
  /// @throws Error that names the folder and what is missing or unsupported.
  static std::shared_ptr<SpeechSynthesizer> from_pretrained(const std::string& name_or_path = "joe",
                                                            const ModelOptions& options = {},
                                                            const std::string& front_end = "",
                                                            const data::Progress& progress = {});

  /// The text's sound: samples [N] float32 in [-1, 1] at sample_rate(). @throws Error
  /// kInvalidArgument for a text without a word to say and for options out of range,
  /// kResourceLimit for more than a million bytes of text.
  Waveform synthesize(const std::string& text, const SpeakOptions& options = {}) const;
  /// The same a piece at a time; the first is ready long before the last.
  std::unique_ptr<runtime::SpokenStream> stream(const std::string& text,
                                                const SpeakOptions& options = {}) const;
  /// What the front end makes of the text: one string for each sentence.
  std::vector<std::string> phonemes(const std::string& text) const;
  /// Speaks what phonemes() gave, or phonemes of your own.
  Waveform speak_phonemes(const std::vector<std::string>& sentences,
                          const SpeakOptions& options = {}) const;

  int64_t sample_rate() const { return speaker_->sample_rate(); }
  std::string language() const { return speaker_->voice().get("language", ""); }
  const runtime::Speaker& speaker() const { return *speaker_; }
  const std::string& dir() const { return dir_; }

 private:
  SpeechSynthesizer() = default;
  std::string dir_;
  std::shared_ptr<const runtime::Speaker> speaker_;
  std::shared_ptr<const data::Phonemizer> phonemizer_;
};

}  // namespace plait::api
