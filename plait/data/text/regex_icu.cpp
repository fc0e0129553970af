#include <unicode/regex.h>
#include <unicode/unistr.h>

#include "plait/core/error.h"
#include "plait/data/text/regex.h"

namespace plait::data {
namespace {

constexpr int32_t kMatchSteps = 20000;  // ICU's unit: some milliseconds each in a time limit

/// Oniguruma's classes in ICU's words: \s knows U+000B and U+0085, \w leaves out the joiners, \h is
/// a hexadecimal digit.
std::string translate(const std::string& pattern) {
  std::string out;
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] != '\\' || i + 1 == pattern.size()) {
      out += pattern[i];
      continue;
    }
    char c = pattern[++i];
    switch (c) {
      case 's': out += R"(\p{White_Space})"; break;
      case 'S': out += R"(\P{White_Space})"; break;
      case 'h': out += "[0-9a-fA-F]"; break;
      case 'H': out += "[^0-9a-fA-F]"; break;
      case 'w': out += R"([\p{Alphabetic}\p{M}\p{Nd}\p{Pc}])"; break;
      case 'W': out += R"([^\p{Alphabetic}\p{M}\p{Nd}\p{Pc}])"; break;
      default: out += '\\'; out += c;
    }
  }
  return out;
}

class IcuRegex : public Regex {
 public:
  IcuRegex(const std::string& pattern, const std::string& where) {
    UErrorCode status = U_ZERO_ERROR;
    UParseError position{};
    auto text = icu::UnicodeString::fromUTF8(translate(pattern));
    pattern_.reset(
        icu::RegexPattern::compile(text, UREGEX_MULTILINE | UREGEX_UNIX_LINES, position, status));
    if (U_FAILURE(status)) {
      fail(ErrorCode::kCorruptData, "tokenizer",
           "expected a regular expression at " + where +
               ", got one that ICU refuses: " + u_errorName(status));
    }
  }

  void find_all(std::string_view text, std::vector<Span>& matches) const override {
    icu::UnicodeString wide = icu::UnicodeString::fromUTF8(
        icu::StringPiece(text.data(), static_cast<int32_t>(text.size())));
    UErrorCode status = U_ZERO_ERROR;
    std::unique_ptr<icu::RegexMatcher> matcher(pattern_->matcher(wide, status));
    if (U_FAILURE(status))
      fail(ErrorCode::kInternal, "tokenizer", "cannot start a regular expression");
    matcher->setTimeLimit(kMatchSteps, status);
    int32_t wide_at = 0;
    uint32_t at = 0;
    auto bytes_until = [&](int32_t target) {
      while (wide_at < target) {
        size_t size = char_size(text[at]);
        at += static_cast<uint32_t>(size);
        wide_at += size == 4 ? 2 : 1;
      }
      return at;
    };
    while (matcher->find(status)) {
      uint32_t begin = bytes_until(matcher->start(status));
      uint32_t end = bytes_until(matcher->end(status));
      matches.push_back({begin, end});
    }
    if (U_FAILURE(status)) {
      fail(ErrorCode::kResourceLimit, "tokenizer",
           std::string("expected a regular expression that matches in bounded time, got ") +
               u_errorName(status));
    }
  }

 private:
  std::unique_ptr<icu::RegexPattern> pattern_;
};

}  // namespace

std::shared_ptr<const Regex> compile_regex(const std::string& pattern, const std::string& where) {
  return std::make_shared<IcuRegex>(pattern, where);
}

}  // namespace plait::data
