#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "plait/core/json.h"
#include "plait/data/text/tokenizer.h"

namespace plait::runtime {

/// A word and its tokens.
struct TokenizedWord {
  std::string text;
  std::vector<int64_t> tokens;
};

/// Whisper's vocabulary: the ids with a meaning of their own, and text. Immutable, thread-safe.
class WhisperTokens {
 public:
  /// `generation` as transformers' generation_config.json. @throws Error kInvalidArgument when the
  /// tokenizer is not Whisper's.
  WhisperTokens(std::shared_ptr<const data::Tokenizer> tokenizer, int64_t vocab_size,
                const Json& generation);

  int64_t end = 0, start = 0, translate = 0, transcribe = 0, previous = 0, no_speech = 0,
          no_timestamps = 0;
  int64_t first_time = 0;  ///< "<|0.00|>"; each next id is 20 ms later
  bool multilingual = false;
  std::vector<std::pair<std::string, int64_t>> languages;    ///< Codes and ids
  std::vector<int64_t> special;                              ///< Never part of a text
  std::vector<int64_t> non_speech;                           ///< Brackets, notes and other symbols
  std::vector<int64_t> blank;                                ///< Not at the beginning
  std::vector<std::pair<int64_t, int64_t>> alignment_heads;  ///< (layer, head); may be empty

  /// <|startoftranscript|>, and language and task for a multilingual model.
  /// @throws Error kInvalidArgument that lists the languages.
  std::vector<int64_t> prompt(const std::string& language, const std::string& task) const;
  std::vector<int64_t> encode(const std::string& text) const;
  /// The text alone: without times and other special tokens.
  std::string decode(const std::vector<int64_t>& ids) const;
  /// Words by spaces and punctuation; characters where a language writes no spaces.
  std::vector<TokenizedWord> split_words(const std::vector<int64_t>& ids,
                                         const std::string& language) const;
  int64_t vocab_size() const { return vocab_size_; }

 private:
  int64_t id_of(const char* token) const;
  void find_non_speech();
  std::vector<TokenizedWord> split_characters(const std::vector<int64_t>& ids) const;

  std::shared_ptr<const data::Tokenizer> tokenizer_;
  int64_t vocab_size_;
};

}  // namespace plait::runtime
