#include "plait/data/text/added_tokens.h"

#include "plait/core/error.h"

namespace plait::data {
namespace {

constexpr size_t kMaxContent = 4096;

size_t spaces_before(std::string_view text, size_t end) {
  const CharClasses& classes = CharClasses::instance();
  while (end > 0) {
    size_t begin = end - 1;
    while (begin > 0 && (text[begin] & 0xC0) == 0x80) --begin;
    size_t at = begin;
    if (!classes.is(next_char(text, at), kSpaceChar)) break;
    end = begin;
  }
  return end;
}

size_t spaces_after(std::string_view text, size_t begin) {
  const CharClasses& classes = CharClasses::instance();
  while (begin < text.size()) {
    size_t at = begin;
    if (!classes.is(next_char(text, at), kSpaceChar)) break;
    begin = at;
  }
  return begin;
}

bool word_before(std::string_view text, size_t end) {
  if (end == 0) return false;
  size_t begin = end - 1;
  while (begin > 0 && (text[begin] & 0xC0) == 0x80) --begin;
  return CharClasses::instance().is(next_char(text, begin), kWordChar);
}

bool word_after(std::string_view text, size_t begin) {
  return begin < text.size() && CharClasses::instance().is(next_char(text, begin), kWordChar);
}

}  // namespace

AddedTokens::AddedTokens(const Json& json, const Vocab& vocab, const TextNormalizer* normalizer,
                         const std::string& where) {
  auto next_id = static_cast<int64_t>(vocab.size());
  for (const Json& item : json.items()) {
    Added added{.content = item.at("content").as_string(),
                .shown = {},
                .single_word = item.get("single_word", false),
                .left = item.get("lstrip", false),
                .right = item.get("rstrip", false),
                .normalized = item.get("normalized", !item.get("special", false))};
    if (added.content.empty()) continue;
    if (added.content.size() > kMaxContent) {
      fail(ErrorCode::kResourceLimit, "tokenizer",
           "expected added tokens of at most 4096 bytes at " + where);
    }
    int64_t id = by_content_.find(added.content);
    if (id < 0) id = vocab.find(added.content);
    if (id < 0) {
      id = next_id++;
      ++extra_;
    }
    added.shown = added.content;
    if (added.normalized && normalizer) {
      AlignedText text{.bytes = added.content, .origin = {}, .shift = 0};
      normalizer->apply(text);
      added.shown = text.bytes;
    }
    if (item.get("special", false)) special_.insert(added.content);
    by_content_.add(added.content, static_cast<uint32_t>(id));
    by_id_[id] = std::move(added);
  }
  std::vector<std::pair<std::string_view, int32_t>> plain, normalized;
  for (const auto& [id, added] : by_id_) {
    if (!added.shown.empty())
      (added.normalized ? normalized : plain).emplace_back(added.shown, static_cast<int32_t>(id));
  }
  plain_ = Trie::build(std::move(plain));
  normalized_ = Trie::build(std::move(normalized));
}

const std::string* AddedTokens::token(int64_t id) const {
  auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : &found->second.shown;
}

void AddedTokens::split(std::string_view text, bool normalized, std::vector<Piece>& out) const {
  const Trie& trie = normalized ? normalized_ : plain_;
  auto put = [&](size_t begin, size_t end, int64_t token) {
    if (begin < end)
      out.push_back({static_cast<uint32_t>(begin), static_cast<uint32_t>(end), token});
  };
  size_t done = 0;
  for (size_t at = 0; !trie.empty() && at < text.size();) {
    int32_t node = Trie::kRoot, id = -1;
    size_t end = at;
    for (size_t i = at; i < text.size();) {
      node = trie.step(node, static_cast<unsigned char>(text[i++]));
      if (node < 0) break;
      if (trie.value(node) >= 0) {
        id = trie.value(node);
        end = i;
      }
    }
    if (id < 0) {
      ++at;
      continue;
    }
    size_t begin = at;
    at = end;
    const Added& added = by_id_.at(id);
    if (added.single_word && (word_before(text, begin) || word_after(text, end))) continue;
    if (added.left) begin = std::max(spaces_before(text, begin), done);
    if (added.right) end = spaces_after(text, end);
    begin = std::max(begin, done);
    if (end <= begin) continue;
    put(done, begin, -1);
    put(begin, end, id);
    done = end;
  }
  put(done, text.size(), -1);
}

}  // namespace plait::data
