#pragma once
#include <ATen/core/Generator.h>

#include <string>
#include <vector>

#include "plait/models/decoders/whisper_decoder.h"
#include "plait/runtime/transcribe/options.h"
#include "plait/runtime/transcribe/whisper_tokens.h"

namespace plait::runtime {

/// What one window of sound says.
struct WindowText {
  std::vector<int64_t> tokens;   ///< Text and times, without the end
  double mean_logprob = 0;       ///< Over the tokens and the end
  double no_speech = 0;          ///< Probability that nobody speaks
  double compression_ratio = 0;  ///< Of the text, by zlib
  double temperature = 0;
};

/// Decodes windows as openai/whisper's decoding.py does: timestamp rules, suppressed tokens, greedy
/// search, beam search or samples, and the fallback over temperatures.
class WindowDecoder {
 public:
  /// Refers to all three; they must live as long.
  WindowDecoder(const models::WhisperDecoder& model, const WhisperTokens& tokens,
                const TranscribeOptions& options);
  /// `sound` of one window, after `previous` text (its tail is taken). `generator` for samples.
  WindowText decode(const models::CrossKeys& sound, const std::vector<int64_t>& previous,
                    const std::string& language, at::Generator& generator) const;
  /// The language of a window, and how sure that is.
  std::pair<std::string, double> detect_language(const models::CrossKeys& sound) const;

 private:
  struct Prefix;
  struct Search;
  WindowText attempt(const Prefix& prefix, const models::CrossKeys& sound, double temperature,
                     at::Generator& generator) const;
  void apply_rules(float* scores, const std::vector<int64_t>& sampled) const;
  void sample_rows(Search& search, double temperature, at::Generator& generator) const;
  void search_beams(Search& search) const;
  at::Tensor next_scores(Search& search) const;
  bool cancelled() const { return options_.cancelled && options_.cancelled(); }

  const models::WhisperDecoder& model_;
  const WhisperTokens& tokens_;
  const TranscribeOptions& options_;
  std::vector<int64_t> suppressed_;
  int64_t longest_sample_;
};

}  // namespace plait::runtime
