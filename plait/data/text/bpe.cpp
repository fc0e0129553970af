#include <queue>

#include "plait/core/error.h"
#include "plait/data/text/token_model.h"
#include "plait/data/text/unicode.h"

namespace plait::data {
namespace {

/// Byte pair encoding (Sennrich et al. 2016): characters are merged in the order in which merges
/// were learned.
class Bpe : public TokenModel {
 public:
  Bpe(const Json& json, const std::string& where)
      : prefix_(json.get("continuing_subword_prefix", "")),
        suffix_(json.get("end_of_word_suffix", "")),
        fuse_unknown_(json.get("fuse_unk", false)),
        byte_fallback_(json.get("byte_fallback", false)),
        ignore_merges_(json.get("ignore_merges", false)) {
    if (json.get("dropout", 0.0) != 0.0) {
      fail(ErrorCode::kCorruptData, "tokenizer",
           "expected no dropout (it makes tokens random) at " + where + ".dropout");
    }
    read_vocab(json.at("vocab"), where + ".vocab", vocab_);
    read_merges(json.at("merges").items(), where + ".merges");
    bytes_ = byte_tokens(vocab_);
    const Json* unknown = json.find("unk_token");
    has_unknown_ = unknown && !unknown->is_null();
    if (has_unknown_) unknown_ = vocab_.find(unknown->as_string());
  }

  void tokenize(std::string_view piece, std::vector<Token>& out) const override {
    if (piece.empty()) return;
    if (ignore_merges_) {
      if (int64_t id = vocab_.find(piece); id >= 0) {
        out.push_back({static_cast<uint32_t>(id), 0, static_cast<uint32_t>(piece.size())});
        return;
      }
    }
    if (cache_.find(piece, out)) return;
    size_t before = out.size();
    merge(piece, out);
    cache_.put(piece, out.data() + before, out.size() - before);
  }

 private:
  struct Symbol {
    uint32_t id;
    uint32_t length;  // in bytes; 0 once merged into the one before
    int32_t previous;
    int32_t next;
  };

  struct Candidate {
    uint32_t rank;
    int32_t position;
    uint32_t id;
    bool operator>(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : position > other.position;
    }
  };

  void read_merges(const Json::Array& merges, const std::string& where) {
    merges_.reserve(merges.size());
    uint32_t rank = 0;
    std::string joined;
    for (const Json& item : merges) {
      std::string_view left, right;
      if (item.is_string()) {
        std::string_view line = item.as_string();
        if (line.starts_with("#version")) continue;
        size_t space = line.find(' ');
        if (space == std::string_view::npos ||
            line.find(' ', space + 1) != std::string_view::npos) {
          fail(ErrorCode::kCorruptData, "tokenizer",
               "expected two parts in merge " + std::to_string(rank) + " at " + where);
        }
        left = line.substr(0, space);
        right = line.substr(space + 1);
      } else {
        if (item.items().size() != 2) {
          fail(ErrorCode::kCorruptData, "tokenizer",
               "expected two parts in merge " + std::to_string(rank) + " at " + where);
        }
        left = item.at(size_t{0}).as_string();
        right = item.at(size_t{1}).as_string();
      }
      joined = left;
      joined += right.size() >= prefix_.size() ? right.substr(prefix_.size()) : right;
      int64_t a = vocab_.find(left), b = vocab_.find(right), merged = vocab_.find(joined);
      if (a < 0 || b < 0 || merged < 0) {
        fail(ErrorCode::kCorruptData, "tokenizer",
             "expected merge " + std::to_string(rank) + " of tokens in the vocabulary at " + where);
      }
      merges_.set(static_cast<uint32_t>(a), static_cast<uint32_t>(b),
                  {rank++, static_cast<uint32_t>(merged)});
    }
  }

  static void push(std::vector<Symbol>& symbols, int64_t id, size_t length) {
    auto last = static_cast<int32_t>(symbols.size()) - 1;
    if (last >= 0) symbols.back().next = last + 1;
    symbols.push_back({static_cast<uint32_t>(id), static_cast<uint32_t>(length), last, -1});
  }

  std::vector<Symbol> split(std::string_view piece) const {
    std::vector<Symbol> symbols;
    symbols.reserve(piece.size());
    size_t unknown_length =
        0;  // of an unknown token that is held back, so that the next can be fused with it
    std::string text;
    for (size_t at = 0; at < piece.size();) {
      size_t length = char_size(piece[at]);
      std::string_view part = piece.substr(at, length);
      bool first = at == 0, last = at + length == piece.size();
      at += length;
      if ((!first && !prefix_.empty()) || (last && !suffix_.empty())) {
        text = first ? "" : prefix_;
        text += part;
        if (last) text += suffix_;
        part = text;
      }
      if (int64_t id = vocab_.find(part); id >= 0) {
        if (unknown_length > 0) push(symbols, unknown_, unknown_length);
        unknown_length = 0;
        push(symbols, id, length);
        continue;
      }
      if (byte_fallback_ && has_bytes(part)) {
        for (char c : part) push(symbols, bytes_[static_cast<unsigned char>(c)], 1);
        continue;
      }
      if (!has_unknown_) continue;
      if (unknown_ < 0) {
        fail(ErrorCode::kCorruptData, "tokenizer",
             "expected the unknown token in the vocabulary, got a text that needs it");
      }
      if (unknown_length > 0 && !fuse_unknown_) {
        push(symbols, unknown_, unknown_length);
        unknown_length = 0;
      }
      unknown_length += length;
    }
    if (unknown_length > 0) push(symbols, unknown_, unknown_length);
    return symbols;
  }

  bool has_bytes(std::string_view part) const {
    for (char c : part) {
      if (bytes_[static_cast<unsigned char>(c)] < 0) return false;
    }
    return true;
  }

  void merge(std::string_view piece, std::vector<Token>& out) const {
    std::vector<Symbol> symbols = split(piece);
    std::vector<Candidate> storage;
    storage.reserve(symbols.size());
    std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue(
        {}, std::move(storage));
    auto consider = [&](int32_t left, int32_t right) {
      if (left < 0 || right < 0) return;
      const auto* found = merges_.find(symbols[static_cast<size_t>(left)].id,
                                       symbols[static_cast<size_t>(right)].id);
      if (found) queue.push({found->rank, left, found->id});
    };
    for (size_t i = 1; i < symbols.size(); ++i)
      consider(static_cast<int32_t>(i) - 1, static_cast<int32_t>(i));
    while (!queue.empty()) {
      Candidate top = queue.top();
      queue.pop();
      Symbol& left = symbols[static_cast<size_t>(top.position)];
      if (left.length == 0 || left.next < 0) continue;
      Symbol& right = symbols[static_cast<size_t>(left.next)];
      const auto* still = merges_.find(left.id, right.id);
      if (!still || still->id != top.id) continue;  // one of the two was merged meanwhile
      left.id = top.id;
      left.length += right.length;
      left.next = right.next;
      right.length = 0;
      if (left.next >= 0) symbols[static_cast<size_t>(left.next)].previous = top.position;
      consider(left.previous, top.position);
      consider(top.position, left.next);
    }
    uint32_t at = 0;
    for (const Symbol& symbol : symbols) {
      if (symbol.length == 0) continue;
      out.push_back({symbol.id, at, at + symbol.length});
      at += symbol.length;
    }
  }

  std::string prefix_, suffix_;
  bool fuse_unknown_, byte_fallback_, ignore_merges_;
  bool has_unknown_ = false;
  int64_t unknown_ = -1;
  PairMap merges_;
  std::array<int64_t, 256> bytes_;
  WordCache cache_;
};

}  // namespace

std::unique_ptr<TokenModel> make_bpe(const Json& json, const std::string& where) {
  return std::make_unique<Bpe>(json, where);
}

}  // namespace plait::data
