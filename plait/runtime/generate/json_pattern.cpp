#include "plait/runtime/generate/json_pattern.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>
#include <vector>

#include "plait/core/error.h"

namespace plait::runtime {
namespace {

constexpr uint32_t kLast = 0x10FFFF;
constexpr int64_t kMostRepeats = 1000;

using Range = std::pair<uint32_t, uint32_t>;
/// Characters as ranges; sorted and apart once `tidy` has seen it.
using Set = std::vector<Range>;

Set tidy(Set set) {
  std::sort(set.begin(), set.end());
  Set out;
  for (const Range& r : set) {
    if (!out.empty() && r.first <= out.back().second + 1) {
      out.back().second = std::max(out.back().second, r.second);
    } else {
      out.push_back(r);
    }
  }
  return out;
}

Set complement(const Set& given, uint32_t last = kLast) {
  Set out;
  uint32_t next = 0;
  for (const Range& r : tidy(given)) {
    if (r.first > next) out.emplace_back(next, std::min(r.first - 1, last));
    next = std::max(next, r.second + 1);
  }
  if (next <= last) out.emplace_back(next, last);
  return out;
}

Set intersection(const Set& a, const Set& b) {
  Set joined = complement(a), other = complement(b);
  joined.insert(joined.end(), other.begin(), other.end());
  return complement(joined);
}

/// What a JSON text may hold as it is.
const Set& plain() {
  static const Set set = {
      {0x20, 0x21}, {0x23, 0x5B}, {0x5D, 0x7E}, {0x80, 0xD7FF}, {0xE000, kLast}};
  return set;
}

const Set kDigit = {{'0', '9'}}, kWord = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}},
          kSpace = {{'\t', '\r'}, {' ', ' '}},
          kLineEnds = {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};

std::string code_point(uint32_t c) {
  char text[16];
  std::snprintf(text, sizeof text, "\\U%08X", c);
  return text;
}

class PatternReader {
 public:
  PatternReader(const std::string& pattern, const std::string& where) : where_(where) {
    decode(pattern);
  }

  std::string run() {
    std::string body;
    while (true) {
      bool begins = false, ends = false;
      if (peek() == '^') {
        ++at_;
        begins = true;
      }
      const std::string inner = sequence(0);
      if (peek() == '$') {
        ++at_;
        ends = true;
      }
      body += (begins ? "" : "char* ") + inner + (ends ? "" : " char*");
      if (peek() != '|') break;
      ++at_;
      body += " | ";
    }
    if (at_ < text_.size()) wrong(peek() == ')' ? "a parenthesis too many" : "^ or $ inside");
    return "\"\\\"\" (" + body + ") \"\\\"\"";
  }

 private:
  [[noreturn]] void wrong(const std::string& what) const {
    fail(ErrorCode::kInvalidArgument, "json_schema",
         where_ + ": pattern: " + what + " is not supported");
  }

  void decode(const std::string& s) {
    for (size_t i = 0; i < s.size();) {
      const auto lead = static_cast<unsigned char>(s[i]);
      const size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
      if (i + length > s.size()) wrong("text that is not UTF-8");
      uint32_t c = length == 1 ? lead : lead & (0xFFU >> (length + 1));
      for (size_t k = 1; k < length; ++k)
        c = c << 6 | (static_cast<unsigned char>(s[i + k]) & 0x3FU);
      text_.push_back(c);
      i += length;
    }
    if (text_.size() > 2000) wrong("one of more than 2,000 characters");
  }

  /// 0 at the end.
  uint32_t peek(size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : 0;
  }
  uint32_t take() {
    if (at_ == text_.size()) wrong("an end in the middle");
    return text_[at_++];
  }

  /// Up to an end, a |, a ) or a $.
  std::string sequence(int depth) {
    std::string out;
    while (at_ < text_.size() && peek() != '|' && peek() != ')' && peek() != '$') {
      std::string one = atom(depth);
      one += repetition();
      out += (out.empty() ? "" : " ") + one;
    }
    return out.empty() ? "\"\"" : out;
  }

  std::string atom(int depth) {
    const uint32_t c = take();
    if (c == '(') {
      if (depth > 50) wrong("nesting as deep");
      if (peek() == '?') {
        if (peek(1) != ':') wrong("a group with (?");
        at_ += 2;
      }
      std::string body;
      while (true) {
        body += sequence(depth + 1);
        const uint32_t next = take();
        if (next == ')') break;
        if (next != '|') wrong("^ or $ inside");
        body += " | ";
      }
      return "(" + body + ")";
    }
    if (c == '[') return characters(bracket());
    if (c == '.') return characters(complement(kLineEnds));
    if (c == '^' || c == '*' || c == '+' || c == '?' || c == '{') wrong("a bare ^, *, +, ? or {");
    if (c == '\\') return characters(escaped().first);
    return characters({{c, c}});
  }

  std::string repetition() {
    std::string out;
    const uint32_t c = peek();
    if (c == '*' || c == '+' || c == '?') {
      ++at_;
      out = static_cast<char>(c);
    } else if (c == '{') {
      ++at_;
      const int64_t low = number();
      int64_t high = low;
      if (peek() == ',') {
        ++at_;
        high = peek() == '}' ? -1 : number();
      }
      if (take() != '}' || (high >= 0 && high < low)) wrong("such a repetition");
      out = "{" + std::to_string(low) + "," + (high < 0 ? "" : std::to_string(high)) + "}";
    } else {
      return out;
    }
    // Lazy or not, the texts are the same.
    if (peek() == '?') ++at_;
    if (peek() == '*' || peek() == '+' || peek() == '{') wrong("a repetition of a repetition");
    return out;
  }

  int64_t number() {
    int64_t value = -1;
    while (peek() >= '0' && peek() <= '9') {
      value = std::max<int64_t>(value, 0) * 10 + (take() - '0');
      if (value > kMostRepeats) wrong("more than 1,000 repetitions");
    }
    if (value < 0) wrong("such a repetition");
    return value;
  }

  uint32_t hexadecimal(int digits) {
    uint32_t value = 0;
    for (int i = 0; i < digits; ++i) {
      const uint32_t c = take();
      const bool digit = c >= '0' && c <= '9', low = c >= 'a' && c <= 'f',
                 high = c >= 'A' && c <= 'F';
      if (!digit && !low && !high) wrong("such an escape");
      value = value * 16 + (digit ? c - '0' : (c | 0x20U) - 'a' + 10);
    }
    return value;
  }

  /// What stands after a backslash, and whether it is one of the classes.
  std::pair<Set, bool> escaped() {
    const uint32_t c = take();
    switch (c) {
      case 'd': return {kDigit, true};
      case 'w': return {kWord, true};
      case 's': return {kSpace, true};
      // Of the complement only ASCII: dialects differ in what else is a digit, a letter, a space.
      case 'D': return {complement(kDigit, 0x7F), true};
      case 'W': return {complement(kWord, 0x7F), true};
      case 'S': return {complement(kSpace, 0x7F), true};
      case 't': return {{{'\t', '\t'}}, false};
      case 'n': return {{{'\n', '\n'}}, false};
      case 'r': return {{{'\r', '\r'}}, false};
      case 'f': return {{{'\f', '\f'}}, false};
      case 'v': return {{{'\v', '\v'}}, false};
      case 'x': {
        const uint32_t value = hexadecimal(2);
        return {{{value, value}}, false};
      }
      case 'u': {
        const uint32_t value = hexadecimal(4);
        if (value >= 0xD800 && value <= 0xDFFF) wrong("a half of a surrogate pair");
        return {{{value, value}}, false};
      }
      default: break;
    }
    const bool letter = (c >= '0' && c <= '9') || ((c | 0x20U) >= 'a' && (c | 0x20U) <= 'z');
    if (letter) wrong(std::string("\\") + static_cast<char>(c));
    return {{{c, c}}, false};
  }

  Set bracket() {
    Set set;
    bool negated = false, classes = false;
    if (peek() == '^') {
      ++at_;
      negated = true;
    }
    auto one = [&]() -> std::pair<Set, bool> {
      const uint32_t c = take();
      if (c == '\\' && peek() == 'b') {
        ++at_;
        return {{{'\b', '\b'}}, false};
      }
      if (c == '\\') return escaped();
      return {{{c, c}}, false};
    };
    while (peek() != ']') {
      auto [from, is_class] = one();
      if (peek() == '-' && peek(1) != ']' && peek(1) != 0) {
        ++at_;
        auto [to, also_class] = one();
        if (is_class || also_class || to[0].first < from[0].first) wrong("such a range");
        from[0].second = to[0].first;
      }
      classes = classes || is_class;
      set.insert(set.end(), from.begin(), from.end());
    }
    ++at_;
    return negated ? complement(set, classes ? 0x7F : kLast) : tidy(set);
  }

  /// One character of the set as a JSON text writes it.
  std::string characters(const Set& set) const {
    std::string out, between;
    Set bare = intersection(set, plain());
    if (!bare.empty()) {
      out += "[";
      for (const auto& [low, high] : bare)
        out += code_point(low) + (high > low ? "-" + code_point(high) : "");
      out += "]";
    }
    static constexpr std::array<std::pair<char, const char*>, 7> kEscapes = {{{'"', R"("\\\"")"},
                                                                              {'\\', R"("\\\\")"},
                                                                              {'\b', R"("\\b")"},
                                                                              {'\f', R"("\\f")"},
                                                                              {'\n', R"("\\n")"},
                                                                              {'\r', R"("\\r")"},
                                                                              {'\t', R"("\\t")"}}};
    for (const auto& [c, written] : kEscapes) {
      const auto code = static_cast<uint32_t>(c);
      for (const auto& [low, high] : set) {
        if (code < low || code > high) continue;
        out += (out.empty() ? "" : " | ") + std::string(written);
        break;
      }
    }
    if (out.empty()) wrong("a character that a text of JSON cannot hold");
    return "(" + out + ")";
  }

  std::string where_;
  std::vector<uint32_t> text_;
  size_t at_ = 0;
};

/// Numbers of as many digits as both have, from `low` to `high`.
std::string digits(const std::string& low, const std::string& high) {
  if (low.empty()) return "";
  const std::string low_rest = low.substr(1), high_rest = high.substr(1);
  if (low == std::string(low.size(), '0') && high == std::string(high.size(), '9'))
    return "[0-9]{" + std::to_string(low.size()) + "} ";
  if (low[0] == high[0]) return std::string("\"") + low[0] + "\" " + digits(low_rest, high_rest);
  std::string first =
      std::string("\"") + low[0] + "\" " + digits(low_rest, std::string(low_rest.size(), '9'));
  std::string last =
      std::string("\"") + high[0] + "\" " + digits(std::string(high_rest.size(), '0'), high_rest);
  std::string out = "(" + first + "| ";
  if (high[0] - low[0] > 1) {
    out += std::string("[") + static_cast<char>(low[0] + 1) + "-" + static_cast<char>(high[0] - 1) +
           "] ";
    if (!low_rest.empty()) out += "[0-9]{" + std::to_string(low_rest.size()) + "} ";
    out += "| ";
  }
  return out + last + ") ";
}

/// Both at least 0, without leading zeros.
std::string natural(int64_t low, int64_t high) {
  std::string out;
  for (std::string from = std::to_string(low);;) {
    const std::string most(from.size(), '9');
    const bool done = std::to_string(high).size() == from.size();
    out += (out.empty() ? "" : "| ") + digits(from, done ? std::to_string(high) : most);
    if (done) return out;
    from = "1" + std::string(from.size(), '0');
  }
}

}  // namespace

std::string pattern_to_gbnf(const std::string& pattern, const std::string& where) {
  return PatternReader(pattern, where).run();
}

std::string integer_range_to_gbnf(int64_t low, int64_t high) {
  std::string out;
  if (low < 0) out += "\"-\" (" + natural(std::max<int64_t>(1, -high), -low) + ")";
  if (high >= 0) out += (out.empty() ? "" : " | ") + natural(std::max<int64_t>(0, low), high);
  return out;
}

}  // namespace plait::runtime
