#pragma once
#include <memory>
#include <string>
#include <vector>

#include "plait/data/text/tokenizer.h"

namespace plait::data {

/// A tokenizer.json with the tokens of transformers' CLIPTokenizer, from its vocab.json and
/// merges.txt: text in lower case, byte pairs with "</w>" at the end of words, start and end tokens
/// around it. @throws Error kCorruptData naming `where` and what is missing.
std::string clip_tokenizer_json(const std::string& vocab, const std::string& merges,
                                const std::string& where);

/// How a text-to-image model's prompts become rows of ids. Immutable, thread-safe.
class PromptTokenizer {
 public:
  /// A folder of a CLIP tokenizer: tokenizer.json, or vocab.json and merges.txt; with
  /// special_tokens_map.json or tokenizer_config.json (pad_token, model_max_length). Rows have at
  /// most `longest` ids. @throws Error kNotFound naming the files that were looked for,
  /// kCorruptData.
  static std::shared_ptr<const PromptTokenizer> load(const std::string& dir, int64_t longest);

  /// Start, text, end, and padding up to length(); what does not fit is cut off.
  std::vector<int64_t> row(const std::string& text) const;
  int64_t length() const { return length_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }

 private:
  PromptTokenizer() = default;
  std::shared_ptr<const Tokenizer> tokenizer_;
  int64_t length_ = 77;
  int64_t pad_id_ = 0;
};

}  // namespace plait::data
