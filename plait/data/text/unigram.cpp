#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "plait/core/error.h"
#include "plait/data/text/token_model.h"
#include "plait/data/text/unicode.h"

namespace plait::data {
namespace {

constexpr double kUnknownPenalty = 10.0;

/// The score as the reference reads it from JSON: its digits as an integer, divided by a power of
/// ten. That may differ from the nearest double in the last bit, which decides between
/// segmentations whose scores would tie.
double as_reference_reads(double score) {
  char text[64];
  auto [end, error] = std::to_chars(text, text + sizeof(text), score);
  if (error != std::errc() || std::abs(score) > 1e15) return score;
  uint64_t digits = 0;
  int exponent = 0;
  bool fraction = false, full = false;
  for (const char* at = text; at != end; ++at) {
    if (*at == '-') continue;
    if (*at == '.') {
      fraction = true;
    } else if (*at == 'e') {
      exponent += std::atoi(std::string(at + 1, static_cast<const char*>(end)).c_str());
      break;
    } else if (!full) {
      full = digits > (UINT64_MAX - 9) / 10;
      if (full) continue;
      digits = digits * 10 + static_cast<uint64_t>(*at - '0');
      exponent -= fraction ? 1 : 0;
    }
  }
  if (exponent < -300 || exponent > 300) return score;
  auto value = static_cast<double>(digits);
  double power = std::strtod(("1e" + std::to_string(std::abs(exponent))).c_str(), nullptr);
  value = exponent < 0 ? value / power : value * power;
  return score < 0 ? -value : value;
}

/// The unigram language model (Kudo 2018): the segmentation with the highest sum of scores.
class Unigram : public TokenModel {
 public:
  Unigram(const Json& json, const std::string& where)
      : byte_fallback_(json.get("byte_fallback", false)) {
    const Json::Array& items = json.at("vocab").items();
    scores_.reserve(items.size());
    double lowest = std::numeric_limits<double>::infinity();
    for (const Json& item : items) {
      const std::string& token = item.at(size_t{0}).as_string();
      double score = as_reference_reads(item.at(size_t{1}).as_double());
      vocab_.add(token, static_cast<uint32_t>(scores_.size()));
      scores_.push_back(score);
      lowest = std::min(lowest, score);
    }
    vocab_.finish(where + ".vocab");
    unknown_score_ = lowest - kUnknownPenalty;
    const Json* unknown = json.find("unk_id");
    if (unknown && !unknown->is_null()) {
      unknown_ = unknown->as_int();
      if (unknown_ < 0 || unknown_ >= static_cast<int64_t>(scores_.size())) {
        fail(ErrorCode::kCorruptData, "tokenizer",
             "expected an id in the vocabulary at " + where + ".unk_id, got " +
                 std::to_string(unknown_));
      }
    }
    std::vector<std::pair<std::string_view, int32_t>> keys;
    vocab_.each([&](std::string_view token, uint32_t id) {
      if (!token.empty()) keys.emplace_back(token, static_cast<int32_t>(id));
    });
    trie_ = Trie::build(std::move(keys));
    bytes_ = byte_tokens(vocab_);
  }

  void tokenize(std::string_view piece, std::vector<Token>& out) const override {
    if (piece.empty()) return;
    std::vector<Node> best = search(piece);
    // Walk back over the best path; runs of unknown characters become one token.
    std::vector<Token> path;
    for (size_t end = piece.size(); end > 0;) {
      const Node& node = best[end];
      auto begin = static_cast<uint32_t>(node.begin);
      bool unknown = node.id == unknown_;
      if (unknown && !path.empty() && path.back().id == kUnknown) {
        path.back().begin = begin;
      } else {
        path.push_back({unknown ? kUnknown : static_cast<uint32_t>(node.id), begin,
                        static_cast<uint32_t>(end)});
      }
      end = begin;
    }
    for (size_t i = path.size(); i-- > 0;) {
      if (path[i].id == kUnknown) {
        put_unknown(piece, path[i], out);
      } else {
        out.push_back(path[i]);
      }
    }
  }

 private:
  static constexpr uint32_t kUnknown = UINT32_MAX;
  struct Node {
    double score = 0;
    int64_t id = 0;
    int64_t begin = -1;
  };

  std::vector<Node> search(std::string_view piece) const {
    std::vector<Node> best(piece.size() + 1);
    auto offer = [&](size_t begin, size_t end, int64_t id, double score) {
      Node& node = best[end];
      if (node.begin < 0 || score > node.score) node = {score, id, static_cast<int64_t>(begin)};
    };
    for (size_t begin = 0; begin < piece.size();) {
      double here = best[begin].score;
      size_t length = char_size(piece[begin]);
      bool single = false;
      int32_t node = Trie::kRoot;
      for (size_t i = begin; i < piece.size();) {
        node = trie_.step(node, static_cast<unsigned char>(piece[i++]));
        if (node < 0) break;
        int32_t id = trie_.value(node);
        if (id < 0) continue;
        offer(begin, i, id, scores_[static_cast<size_t>(id)] + here);
        single |= i - begin == length;
      }
      if (!single) {
        if (unknown_ < 0) {
          fail(ErrorCode::kCorruptData, "tokenizer",
               "expected an unk_id in the vocabulary, got a text that needs it");
        }
        offer(begin, begin + length, unknown_, unknown_score_ + here);
      }
      begin += length;
    }
    return best;
  }

  void put_unknown(std::string_view piece, Token token, std::vector<Token>& out) const {
    std::string_view text = piece.substr(token.begin, token.end - token.begin);
    if (int64_t id = vocab_.find(text); id >= 0) {
      out.push_back({static_cast<uint32_t>(id), token.begin, token.end});
      return;
    }
    if (byte_fallback_ && std::all_of(text.begin(), text.end(), [&](char c) {
          return bytes_[static_cast<unsigned char>(c)] >= 0;
        })) {
      for (char c : text)
        out.push_back(
            {static_cast<uint32_t>(bytes_[static_cast<unsigned char>(c)]), token.begin, token.end});
      return;
    }
    out.push_back({static_cast<uint32_t>(unknown_), token.begin, token.end});
  }

  bool byte_fallback_;
  int64_t unknown_ = -1;
  double unknown_score_ = 0;
  std::vector<double> scores_;
  Trie trie_;
  std::array<int64_t, 256> bytes_;
};

}  // namespace

std::unique_ptr<TokenModel> make_unigram(const Json& json, const std::string& where) {
  return std::make_unique<Unigram>(json, where);
}

}  // namespace plait::data
