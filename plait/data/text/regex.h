#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "plait/data/text/aligned_text.h"

namespace plait::data {

/// A regular expression of a tokenizer.json (Oniguruma's Ruby syntax), run by ICU, or by hand for
/// GPT-2's. Thread-safe.
class Regex {
 public:
  virtual ~Regex() = default;
  /// @throws Error kCorruptData with `where` when the pattern does not parse.
  static std::shared_ptr<const Regex> compile(const std::string& pattern, const std::string& where);
  /// The pattern that GPT-2 splits with.
  static std::shared_ptr<const Regex> gpt2();
  /// A literal string.
  static std::shared_ptr<const Regex> literal(std::string text);
  /// Appends all matches in order, from left to right. @throws Error kResourceLimit when matching
  /// takes too long.
  virtual void find_all(std::string_view text, std::vector<Span>& matches) const = 0;
};

/// What Regex::compile uses for any but the well-known patterns (regex_icu.cpp).
std::shared_ptr<const Regex> compile_regex(const std::string& pattern, const std::string& where);

}  // namespace plait::data
