#pragma once
#include <memory>

#include "plait/core/json.h"
#include "plait/data/text/vocab.h"

namespace plait::data {

/// Turns one piece of text into tokens. Immutable, thread-safe.
class TokenModel {
 public:
  virtual ~TokenModel() = default;
  /// Appends the tokens of `piece`, whose bytes they cover from left to right.
  virtual void tokenize(std::string_view piece, std::vector<Token>& out) const = 0;
  const Vocab& vocab() const { return vocab_; }

 protected:
  Vocab vocab_;
};

/// The "model" of a tokenizer.json: BPE, WordPiece, Unigram or WordLevel.
/// @throws Error kCorruptData, also for an unsupported type, which it names with `where`.
std::unique_ptr<TokenModel> make_token_model(const Json& json, const std::string& where);

std::unique_ptr<TokenModel> make_bpe(const Json& json, const std::string& where);
std::unique_ptr<TokenModel> make_unigram(const Json& json, const std::string& where);
/// "<0x00>" … "<0xFF>" as ids; -1 where the vocabulary lacks one.
std::array<int64_t, 256> byte_tokens(const Vocab& vocab);
/// Adds the members of {"token": id}.
void read_vocab(const Json& json, const std::string& where, Vocab& vocab);

}  // namespace plait::data
