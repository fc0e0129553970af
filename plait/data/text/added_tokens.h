#pragma once
#include <unordered_set>

#include "plait/core/json.h"
#include "plait/data/text/normalizers.h"
#include "plait/data/text/vocab.h"

namespace plait::data {

/// Tokens that are found in the text before the model sees it: special ones like [CLS] and any that
/// were added.
class AddedTokens {
 public:
  AddedTokens() = default;
  /// The "added_tokens" of a tokenizer.json. Like the reference, a token that the model lacks gets
  /// the next free id, whatever its entry says. @throws Error kCorruptData.
  AddedTokens(const Json& json, const Vocab& vocab, const TextNormalizer* normalizer,
              const std::string& where);

  /// Cuts the text at tokens that are matched before normalisation (`normalized` false) or after
  /// it.
  void split(std::string_view text, bool normalized, std::vector<Piece>& out) const;
  int64_t find(std::string_view content) const { return by_content_.find(content); }
  /// What decoders see for the id, or nullptr.
  const std::string* token(int64_t id) const;
  bool is_special(const std::string& content) const { return special_.count(content) > 0; }
  /// Those that the model does not have itself.
  int64_t extra() const { return extra_; }

 private:
  struct Added {
    std::string content;
    std::string shown;
    bool single_word = false, left = false, right = false, normalized = false;
  };
  Vocab by_content_;
  std::unordered_map<int64_t, Added> by_id_;
  std::unordered_set<std::string> special_;
  Trie plain_, normalized_;
  int64_t extra_ = 0;
};

}  // namespace plait::data
