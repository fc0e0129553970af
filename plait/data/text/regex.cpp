#include "plait/data/text/regex.h"

#include "plait/core/error.h"

namespace plait::data {
namespace {

constexpr std::string_view kGpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr size_t kMaxPattern = 64 << 10;

class Gpt2Regex : public Regex {
 public:
  void find_all(std::string_view text, std::vector<Span>& matches) const override {
    const CharClasses& classes = CharClasses::instance();
    for (size_t at = 0; at < text.size();) {
      size_t end = match(classes, text, at);
      matches.push_back({static_cast<uint32_t>(at), static_cast<uint32_t>(end)});
      at = end;
    }
  }

 private:
  static size_t contraction(std::string_view rest) {
    for (std::string_view ending : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"}) {
      if (rest.starts_with(ending)) return ending.size();
    }
    return 0;
  }

  static size_t match(const CharClasses& classes, std::string_view text, size_t at) {
    if (text[at] == '\'') {
      if (size_t length = contraction(text.substr(at))) return at + length;
    }
    size_t begin = at;
    if (text[begin] == ' ') ++begin;
    if (begin < text.size()) {
      size_t next = begin;
      uint16_t kind = classes.of(next_char(text, next)) & (kLetterChar | kNumberChar | kSpaceChar);
      if (!(kind & kSpaceChar)) {
        while (next < text.size()) {
          size_t after = next;
          if ((classes.of(next_char(text, after)) & (kLetterChar | kNumberChar | kSpaceChar)) !=
              kind)
            break;
          next = after;
        }
        return next;
      }
    }
    // White space: all of it at the end of the text, else all but the last (which goes with what
    // follows).
    size_t end = at, last = at;
    while (end < text.size()) {
      size_t after = end;
      if (!classes.is(next_char(text, after), kSpaceChar)) break;
      last = end;
      end = after;
    }
    return end == text.size() || last == at ? end : last;
  }
};

class Literal : public Regex {
 public:
  explicit Literal(std::string text) : text_(std::move(text)) {}
  void find_all(std::string_view text, std::vector<Span>& matches) const override {
    if (text_.empty()) return;
    for (size_t at = text.find(text_); at != std::string_view::npos;
         at = text.find(text_, at + text_.size())) {
      matches.push_back({static_cast<uint32_t>(at), static_cast<uint32_t>(at + text_.size())});
    }
  }

 private:
  std::string text_;
};

}  // namespace

std::shared_ptr<const Regex> Regex::compile(const std::string& pattern, const std::string& where) {
  if (pattern == kGpt2) return gpt2();
  if (pattern.size() > kMaxPattern) {
    fail(ErrorCode::kResourceLimit, "tokenizer",
         "expected a regular expression of at most 64 KiB at " + where);
  }
  return compile_regex(pattern, where);
}

std::shared_ptr<const Regex> Regex::gpt2() { return std::make_shared<Gpt2Regex>(); }

std::shared_ptr<const Regex> Regex::literal(std::string text) {
  return std::make_shared<Literal>(std::move(text));
}

}  // namespace plait::data
