#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "plait/core/config.h"

namespace plait::runtime {

/// How a text is continued. Names and meanings are those of transformers' GenerationConfig;
/// temperature 0 is greedy.
struct GenerateOptions {
  int64_t max_new_tokens = 256;
  int64_t min_new_tokens = 0;
  double temperature = 0;
  int64_t top_k = 0;
  double top_p = 1;
  double min_p = 0;
  double repetition_penalty = 1;
  int64_t no_repeat_ngram_size = 0;
  int64_t num_beams = 1;
  double length_penalty = 1;
  std::string early_stopping = "false";
  int64_t num_return_sequences = 1;
  int64_t seed = 0;
  std::vector<std::string> stop;
  int64_t logprobs = 0;
  bool ignore_eos = false;

  void visit(ConfigVisitor& v);
  static GenerateOptions tiny();
  void validate() const;
};

/// One generated token.
struct GeneratedToken {
  int64_t id = 0;
  double logprob = 0;  ///< Of the model itself, before temperature, penalties and masks
  /// The most probable tokens and their log-probabilities, best first (options.logprobs of them).
  std::vector<std::pair<int64_t, double>> top;
};

/// Why a text ended.
enum class Finish {
  kStop,       ///< End-of-text token, a stop string, or the grammar's end
  kLength,     ///< max_new_tokens, or the model's longest text
  kCancelled,  ///< The caller said so
};
std::string to_string(Finish finish);

/// One continuation.
struct Generation {
  std::vector<GeneratedToken> tokens;  ///< Without the end-of-text token
  Finish finish = Finish::kLength;
  double score = 0;  ///< Beam search: sum of log-probabilities over length^length_penalty
  std::vector<int64_t> ids() const;
};

}  // namespace plait::runtime
