#pragma once
#include <functional>
#include <string>
#include <vector>

#include "plait/core/config.h"

namespace plait::runtime {

/// How speech is turned into text. The defaults are those of OpenAI's transcribe(), but for the
/// padding.
struct TranscribeOptions {
  std::string language;             ///< "en", "zh" ...; empty: detected in the first 30 s
  std::string task = "transcribe";  ///< Or "translate", to English
  bool words = false;               ///< Also when each word was spoken
  std::string initial_prompt;       ///< Names and spellings to expect
  bool condition_on_previous_text = true;
  int64_t beam_size = 1;  ///< 1: greedy
  double patience = 1;
  double length_penalty = -1;  ///< Exponent in [0, 1]; below 0: the mean over tokens
  int64_t best_of = 5;         ///< Samples at temperatures above 0
  /// The next one is tried when a text repeats itself or is improbable.
  std::vector<double> temperatures = {0, 0.2, 0.4, 0.6, 0.8, 1};
  double compression_ratio_threshold = 2.4;
  double logprob_threshold = -1;
  double no_speech_threshold = 0.6;
  double max_initial_timestamp = 1;  ///< Seconds
  bool suppress_blank = true;
  /// What fills a window behind the sound: the spectrogram of silence, as the model was trained and
  /// as transformers has it, or zeros, as openai/whisper's transcribe() has it.
  std::string padding = "silence";
  bool suppress_non_speech = true;
  int64_t seed = 0;

  void visit(ConfigVisitor& v);
  void validate() const;

  /// Seconds done and in all, after every window. May throw.
  std::function<void(double done, double total)> progress = {};
  /// Asked before every token; true ends the work, and what there is until then is the result.
  std::function<bool()> cancelled = {};
};

}  // namespace plait::runtime
