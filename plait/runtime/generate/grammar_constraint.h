#pragma once
#include <memory>
#include <string>
#include <vector>

#include "plait/data/text/tokenizer.h"
#include "plait/runtime/generate/generate.h"
#include "plait/runtime/generate/grammar.h"

namespace plait::runtime {

/// The bytes of every token, as a tree in depth-first order. Immutable, thread-safe.
class TokenTree {
 public:
  /// `bytes[id]` is what the token stands for; empty ones (special tokens) never come up.
  explicit TokenTree(std::vector<std::string> bytes);
  /// Of a tokenizer whose tokens are bytes (ByteLevel) or characters with byte fall-back.
  /// @throws Error kUnavailable for tokenizers of another kind.
  static std::shared_ptr<const TokenTree> of(const data::Tokenizer& tokenizer);

  struct Node {
    unsigned char byte;
    uint16_t depth;               ///< From 1
    uint32_t end;                 ///< The first node behind the branch
    std::vector<int64_t> tokens;  ///< Those that end here
  };
  const std::vector<Node>& nodes() const { return nodes_; }
  const std::string& bytes(int64_t id) const;

 private:
  std::vector<std::string> bytes_;
  std::vector<Node> nodes_;
};

/// Lets a text follow a grammar, token by token.
class GrammarConstraint : public TokenConstraint {
 public:
  GrammarConstraint(std::shared_ptr<const Grammar> grammar, std::shared_ptr<const TokenTree> tree,
                    std::vector<int64_t> end_of_text);
  void mask(std::span<float> scores) override;
  void accept(int64_t token) override;
  bool finished() const override { return Grammar::must_end(stacks_); }
  std::unique_ptr<TokenConstraint> clone() const override;

 private:
  std::shared_ptr<const Grammar> grammar_;
  std::shared_ptr<const TokenTree> tree_;
  std::vector<int64_t> end_of_text_;
  Grammar::Stacks stacks_;
};

}  // namespace plait::runtime
