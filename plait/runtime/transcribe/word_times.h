#pragma once
#include <string>
#include <vector>

#include "plait/models/decoders/whisper_decoder.h"
#include "plait/runtime/transcribe/whisper_tokens.h"

namespace plait::runtime {

/// When a word was spoken, in seconds.
struct TimedWord {
  std::string text;  ///< With the space before it, where there is one
  double start = 0, end = 0;
  double probability = 0;       ///< Mean over its tokens
  std::vector<int64_t> tokens;  ///< Empty for a mark that went to its neighbour
};

/// Times of the words of a text by dynamic time warping over the model's attention to the sound
/// (openai/whisper's timing.py): the alignment heads or, where they are not known, all heads of the
/// upper half of the layers. `ids` is the text alone, of a window of `frames` spectrogram frames.
std::vector<TimedWord> align_words(const models::WhisperDecoder& model, const WhisperTokens& tokens,
                                   const models::CrossKeys& sound, const std::vector<int64_t>& ids,
                                   const std::string& language, int64_t frames);

/// Shortens words that a pause made long, and gives marks to the words beside them; both as
/// timing.py does. `longest` gets twice the median duration, `median` that.
void tidy_words(std::vector<TimedWord>& words, double& median, double& longest);

/// The cheapest way through a matrix of costs [N, M] from corner to corner: (row, column) pairs.
std::vector<std::pair<int64_t, int64_t>> warp(const at::Tensor& costs);

}  // namespace plait::runtime
