#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace plait::data {

/// Classes of a code point as the reference `tokenizers` package sees them (its tables are of
/// several Unicode versions).
enum CharClass : uint16_t {
  kControlChar = 1,         ///< Removed by BertNormalizer: Cc, Cf, Co, U+0000, U+FFFD.
  kSpaceChar = 2,           ///< White_Space.
  kPunctuationChar = 4,     ///< ASCII punctuation or P*.
  kNonspacingMarkChar = 8,  ///< Mn.
  kCombiningMarkChar = 16,  ///< M*.
  kNumericChar = 32,        ///< N*.
  kLetterChar = 64,         ///< \p{L} of regular expressions.
  kNumberChar = 128,        ///< \p{N} of regular expressions.
  kWordChar = 256,          ///< \w.
  kUpperChar = 512,         ///< Has a lower-case mapping.
};

/// The classes of every code point; built once, then only read.
class CharClasses {
 public:
  static const CharClasses& instance();
  uint16_t of(char32_t c) const { return c < classes_.size() ? classes_[c] : 0; }
  bool is(char32_t c, uint16_t any) const { return (of(c) & any) != 0; }
  /// The lower-case form; U+0130 gives "i" and U+0307 must be added by the caller.
  char32_t lower(char32_t c) const;

 private:
  CharClasses();
  std::vector<uint16_t> classes_;
};

/// Decodes the code point at `at` of valid UTF-8 and advances `at`.
inline char32_t next_char(std::string_view text, size_t& at) {
  auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  unsigned char first = byte(at);
  if (first < 0x80) {
    at += 1;
    return first;
  }
  if (first < 0xE0) {
    char32_t c = (first & 0x1Fu) << 6 | (byte(at + 1) & 0x3Fu);
    at += 2;
    return c;
  }
  if (first < 0xF0) {
    char32_t c = (first & 0x0Fu) << 12 | (byte(at + 1) & 0x3Fu) << 6 | (byte(at + 2) & 0x3Fu);
    at += 3;
    return c;
  }
  char32_t c = (first & 0x07u) << 18 | (byte(at + 1) & 0x3Fu) << 12 | (byte(at + 2) & 0x3Fu) << 6 |
               (byte(at + 3) & 0x3Fu);
  at += 4;
  return c;
}

/// Bytes of the character that starts with `first` in valid UTF-8.
inline size_t char_size(char first) {
  auto byte = static_cast<unsigned char>(first);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

void append_utf8(std::string& out, char32_t c);
size_t count_chars(std::string_view text);

/// True for well-formed UTF-8 (no surrogates, no overlong forms).
bool is_utf8(std::string_view text);
/// Replaces every maximal ill-formed part by U+FFFD, as Python's errors="replace" does.
std::string to_valid_utf8(std::string_view text);

}  // namespace plait::data
