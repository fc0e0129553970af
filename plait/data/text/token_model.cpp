#include "plait/data/text/token_model.h"

#include "plait/core/error.h"
#include "plait/data/text/unicode.h"

namespace plait::data {
namespace {

constexpr int64_t kMaxId = (int64_t{1} << 31) - 1;

[[noreturn]] void missing_unknown() {
  fail(ErrorCode::kCorruptData, "tokenizer",
       "expected the unknown token in the vocabulary, got a text that needs it");
}

/// Greedy longest match from the left; a word that cannot be covered is one unknown token.
class WordPiece : public TokenModel {
 public:
  WordPiece(const Json& json, const std::string& where) {
    read_vocab(json.at("vocab"), where + ".vocab", vocab_);
    unknown_ = vocab_.find(json.get("unk_token", "[UNK]"));
    max_chars_ =
        static_cast<size_t>(std::max<int64_t>(0, json.get("max_input_chars_per_word", 100)));
    std::vector<std::pair<std::string_view, int32_t>> keys;
    vocab_.each([&](std::string_view token, uint32_t id) {
      if (!token.empty()) keys.emplace_back(token, static_cast<int32_t>(id));
    });
    trie_ = Trie::build(std::move(keys));
    continuing_ = trie_.walk(Trie::kRoot, json.get("continuing_subword_prefix", "##"));
  }

  void tokenize(std::string_view piece, std::vector<Token>& out) const override {
    size_t before = out.size();
    bool known = piece.size() <= max_chars_ || count_chars(piece) <= max_chars_;
    for (size_t at = 0; known && at < piece.size();) {
      int32_t node = at == 0 ? Trie::kRoot : continuing_;
      int32_t best = -1;
      size_t end = at;
      for (size_t i = at; node >= 0 && i < piece.size();) {
        node = trie_.step(node, static_cast<unsigned char>(piece[i++]));
        if (node >= 0 && trie_.value(node) >= 0) {
          best = trie_.value(node);
          end = i;
        }
      }
      if (best < 0) {
        known = false;
        break;
      }
      out.push_back(
          {static_cast<uint32_t>(best), static_cast<uint32_t>(at), static_cast<uint32_t>(end)});
      at = end;
    }
    if (known) return;
    if (unknown_ < 0) missing_unknown();
    out.resize(before);
    out.push_back({static_cast<uint32_t>(unknown_), 0, static_cast<uint32_t>(piece.size())});
  }

 private:
  Trie trie_;
  int32_t continuing_ = -1;
  int64_t unknown_ = -1;
  size_t max_chars_ = 100;
};

/// Whole pieces only.
class WordLevel : public TokenModel {
 public:
  WordLevel(const Json& json, const std::string& where) {
    read_vocab(json.at("vocab"), where + ".vocab", vocab_);
    unknown_ = vocab_.find(json.get("unk_token", "<unk>"));
  }
  void tokenize(std::string_view piece, std::vector<Token>& out) const override {
    int64_t id = vocab_.find(piece);
    if (id < 0) id = unknown_;
    if (id < 0) missing_unknown();
    out.push_back({static_cast<uint32_t>(id), 0, static_cast<uint32_t>(piece.size())});
  }

 private:
  int64_t unknown_ = -1;
};

}  // namespace

void read_vocab(const Json& json, const std::string& where, Vocab& vocab) {
  for (const auto& [token, id] : json.members()) {
    int64_t value = id.as_int();
    if (value < 0 || value > kMaxId) {
      fail(ErrorCode::kCorruptData, "tokenizer",
           "expected ids from 0 to 2147483647 at " + where + ", got " + std::to_string(value));
    }
    vocab.add(token, static_cast<uint32_t>(value));
  }
  vocab.finish(where);
}

std::array<int64_t, 256> byte_tokens(const Vocab& vocab) {
  std::array<int64_t, 256> ids;
  const char* digits = "0123456789ABCDEF";
  for (size_t byte = 0; byte < 256; ++byte) {
    ids[byte] = vocab.find(std::string("<0x") + digits[byte >> 4] + digits[byte & 15] + ">");
  }
  return ids;
}

std::unique_ptr<TokenModel> make_token_model(const Json& json, const std::string& where) {
  std::string type = json.get("type", "");
  if (type.empty())
    type = json.contains("merges")                      ? "BPE"
           : json.contains("continuing_subword_prefix") ? "WordPiece"
                                                        : "";
  if (type == "WordPiece") return std::make_unique<WordPiece>(json, where);
  if (type == "WordLevel") return std::make_unique<WordLevel>(json, where);
  if (type == "BPE") return make_bpe(json, where);
  if (type == "Unigram") return make_unigram(json, where);
  fail(ErrorCode::kCorruptData, "tokenizer",
       "expected a model that Plait has, got \"" + type + "\" at " + where);
}

}  // namespace plait::data
