#include "plait/data/text/unicode.h"

#include <algorithm>
#include <cstring>

#include "plait/data/text/unicode_tables.h"

namespace plait::data {
namespace {

/// Length of the well-formed sequence at `at`, or 0; then `bad` is the length of the ill-formed
/// part to replace.
size_t sequence_length(std::string_view text, size_t at, size_t& bad) {
  auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  unsigned first = byte(at);
  bad = 1;
  if (first < 0x80) return 1;
  if (first < 0xC2 || first > 0xF4) return 0;
  unsigned low = 0x80, high = 0xBF;
  size_t length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  if (first == 0xE0) low = 0xA0;
  if (first == 0xED) high = 0x9F;
  if (first == 0xF0) low = 0x90;
  if (first == 0xF4) high = 0x8F;
  for (size_t i = 1; i < length; ++i) {
    unsigned c = byte(at + i);
    if (c < low || c > high) return 0;
    low = 0x80;
    high = 0xBF;
    bad = i + 1;
  }
  return length;
}

size_t ascii_run(std::string_view text, size_t at) {
  size_t begin = at;
  for (; at + 8 <= text.size(); at += 8) {
    uint64_t word;
    std::memcpy(&word, text.data() + at, 8);
    if (word & 0x8080808080808080u) break;
  }
  return at - begin;
}

}  // namespace

const CharClasses& CharClasses::instance() {
  static const CharClasses classes;
  return classes;
}

CharClasses::CharClasses() : classes_(0x110000) {
  auto mark = [&](const uint32_t* runs, size_t size, CharClass which) {
    size_t at = 0;
    for (size_t i = 0; i + 1 < size; i += 2) {
      at += runs[i];
      for (size_t n = 0; n < runs[i + 1]; ++n) classes_[at++] |= which;
    }
  };
  using T = UnicodeTables;
  mark(T::kControl, T::kControlSize, kControlChar);
  mark(T::kSpace, T::kSpaceSize, kSpaceChar);
  mark(T::kPunctuation, T::kPunctuationSize, kPunctuationChar);
  mark(T::kNonspacingMark, T::kNonspacingMarkSize, kNonspacingMarkChar);
  mark(T::kCombiningMark, T::kCombiningMarkSize, kCombiningMarkChar);
  mark(T::kNumeric, T::kNumericSize, kNumericChar);
  mark(T::kLetter, T::kLetterSize, kLetterChar);
  mark(T::kNumber, T::kNumberSize, kNumberChar);
  mark(T::kWord, T::kWordSize, kWordChar);
  for (size_t i = 0; i < T::kLowercaseSize; i += 4) {
    for (int32_t n = 0; n < T::kLowercase[i + 1]; ++n) {
      classes_[T::kLowercase[i] + n * T::kLowercase[i + 2]] |= kUpperChar;
    }
  }
  classes_[0x130] |= kUpperChar;
}

char32_t CharClasses::lower(char32_t c) const {
  if (!is(c, kUpperChar)) return c;
  if (c < 0x80) return c + 32;
  if (c == 0x130) return 'i';
  // Runs overlap when their step is 2, so look backwards for the one that holds the code point.
  size_t low = 0, high = UnicodeTables::kLowercaseSize / 4;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (static_cast<char32_t>(UnicodeTables::kLowercase[middle * 4]) <= c) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  for (size_t i = low; i-- > 0;) {
    const int32_t* run = UnicodeTables::kLowercase + i * 4;
    auto distance = static_cast<int32_t>(c) - run[0];
    if (distance % run[2] == 0 && distance / run[2] < run[1]) return c + run[3];
  }
  return c;
}

void append_utf8(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | c >> 6);
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | c >> 12);
    out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | c >> 18);
    out += static_cast<char>(0x80 | (c >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

size_t count_chars(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

bool is_utf8(std::string_view text) {
  size_t bad = 0;
  for (size_t at = 0; at < text.size();) {
    at += ascii_run(text, at);
    if (at >= text.size()) break;
    size_t length = sequence_length(text, at, bad);
    if (length == 0) return false;
    at += length;
  }
  return true;
}

std::string to_valid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 16);
  for (size_t at = 0; at < text.size();) {
    size_t bad = 0;
    size_t length = sequence_length(text, at, bad);
    if (length == 0) {
      append_utf8(out, 0xFFFD);
      at += bad;
    } else {
      out.append(text, at, length);
      at += length;
    }
  }
  return out;
}

}  // namespace plait::data
