#include "plait/runtime/generate/grammar_constraint.h"

#include <algorithm>
#include <limits>
#include <set>

#include "plait/core/error.h"
#include "plait/core/json.h"
#include "plait/data/text/pre_tokenizers.h"
#include "plait/data/text/unicode.h"

namespace plait::runtime {
namespace {

constexpr size_t kMaxToken = 4096;

/// Whether a decoder of that type is part of the tokenizer's.
bool has_decoder(const Json& decoder, const char* type) {
  if (!decoder.is_object()) return false;
  if (decoder.get("type", "") == type) return true;
  const Json* parts = decoder.find("decoders");
  return parts && std::any_of(parts->items().begin(), parts->items().end(),
                              [&](const Json& part) { return has_decoder(part, type); });
}

std::string byte_level(const std::string& token) {
  std::string out;
  for (size_t at = 0; at < token.size();) {
    const int byte = data::char_to_byte(data::next_char(token, at));
    if (byte < 0) return "";
    out += static_cast<char>(byte);
  }
  return out;
}

/// SentencePiece's tokens: "▁" is a blank, "<0x0A>" a byte.
std::string pieces(const std::string& token) {
  if (token.size() == 6 && token.starts_with("<0x") && token.back() == '>')
    return std::string(1, static_cast<char>(std::strtol(token.substr(3, 2).c_str(), nullptr, 16)));
  std::string out;
  for (size_t at = 0; at < token.size();) {
    if (token.compare(at, 3, "\xE2\x96\x81") == 0) {
      out += ' ';
      at += 3;
    } else {
      out += token[at++];
    }
  }
  return out;
}

}  // namespace

TokenTree::TokenTree(std::vector<std::string> bytes) : bytes_(std::move(bytes)) {
  std::vector<int64_t> order;
  for (size_t id = 0; id < bytes_.size(); ++id) {
    if (!bytes_[id].empty() && bytes_[id].size() <= kMaxToken)
      order.push_back(static_cast<int64_t>(id));
  }
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return bytes_[static_cast<size_t>(a)] < bytes_[static_cast<size_t>(b)];
  });
  // In sorted order a token shares its first bytes with the one before it.
  std::vector<size_t> path;
  std::string last;
  const auto close = [&](size_t depth) {
    for (; path.size() > depth; path.pop_back())
      nodes_[path.back()].end = static_cast<uint32_t>(nodes_.size());
  };
  for (int64_t id : order) {
    const std::string& text = bytes_[static_cast<size_t>(id)];
    size_t shared = 0;
    while (shared < last.size() && shared < text.size() && last[shared] == text[shared]) ++shared;
    close(shared);
    for (size_t i = shared; i < text.size(); ++i) {
      path.push_back(nodes_.size());
      nodes_.push_back({static_cast<unsigned char>(text[i]), static_cast<uint16_t>(i + 1), 0, {}});
    }
    nodes_[path.back()].tokens.push_back(id);
    last = text;
  }
  close(0);
}

std::shared_ptr<const TokenTree> TokenTree::of(const data::Tokenizer& tokenizer) {
  const Json json = Json::parse(tokenizer.json(), "tokenizer.json");
  const Json* decoder = json.find("decoder");
  const bool level = decoder && has_decoder(*decoder, "ByteLevel");
  if (!level && !(decoder && has_decoder(*decoder, "ByteFallback"))) {
    fail(ErrorCode::kUnavailable, "grammar",
         "expected a tokenizer of bytes (ByteLevel or ByteFallback)");
  }
  std::set<int64_t> special;
  if (const Json* added = json.find("added_tokens"); added && added->is_array()) {
    for (const Json& token : added->items()) special.insert(token.get("id", -1));
  }
  std::vector<std::string> bytes(static_cast<size_t>(tokenizer.vocab_size()));
  for (size_t id = 0; id < bytes.size(); ++id) {
    if (special.count(static_cast<int64_t>(id))) continue;
    std::string token;
    try {
      token = tokenizer.token_of(static_cast<int64_t>(id));
    } catch (const Error&) {
      continue;  // ids may have gaps
    }
    bytes[id] = level ? byte_level(token) : pieces(token);
  }
  return std::make_shared<TokenTree>(std::move(bytes));
}

const std::string& TokenTree::bytes(int64_t id) const {
  static const std::string none;
  return id >= 0 && static_cast<size_t>(id) < bytes_.size() ? bytes_[static_cast<size_t>(id)]
                                                            : none;
}

GrammarConstraint::GrammarConstraint(std::shared_ptr<const Grammar> grammar,
                                     std::shared_ptr<const TokenTree> tree,
                                     std::vector<int64_t> end_of_text)
    : grammar_(std::move(grammar)),
      tree_(std::move(tree)),
      end_of_text_(std::move(end_of_text)),
      stacks_(grammar_->start()) {}

void GrammarConstraint::mask(std::span<float> scores) {
  std::vector<bool> allowed(scores.size());
  if (Grammar::may_end(stacks_)) {
    for (int64_t id : end_of_text_) {
      if (id >= 0 && static_cast<size_t>(id) < allowed.size())
        allowed[static_cast<size_t>(id)] = true;
    }
  }
  grammar_->walk(stacks_, [&](int32_t start, auto step) {
    const auto& nodes = tree_->nodes();
    std::vector<int32_t> states(kMaxToken + 1, start);
    for (size_t i = 0; start != Grammar::kDead && i < nodes.size();) {
      const TokenTree::Node& node = nodes[i];
      const int32_t next = step(states[node.depth - 1U], node.byte);
      if (next == Grammar::kDead) {
        i = node.end;
        continue;
      }
      states[node.depth] = next;
      for (int64_t id : node.tokens) {
        if (static_cast<size_t>(id) < allowed.size()) allowed[static_cast<size_t>(id)] = true;
      }
      ++i;
    }
  });
  for (size_t i = 0; i < scores.size(); ++i) {
    if (!allowed[i]) scores[i] = -std::numeric_limits<float>::infinity();
  }
}

void GrammarConstraint::accept(int64_t token) {
  const std::string& bytes = tree_->bytes(token);
  require(!bytes.empty(), "grammar", "expected a token that the grammar allows");
  stacks_ = grammar_->walk(stacks_, [&](int32_t state, auto step) {
    for (char byte : bytes) {
      if (state != Grammar::kDead) state = step(state, static_cast<unsigned char>(byte));
    }
    return state == Grammar::kDead ? Grammar::Stacks() : grammar_->stacks_of(state);
  });
  require(!stacks_.empty(), "grammar", "expected a token that the grammar allows");
}

std::unique_ptr<TokenConstraint> GrammarConstraint::clone() const {
  return std::make_unique<GrammarConstraint>(*this);
}

}  // namespace plait::runtime
