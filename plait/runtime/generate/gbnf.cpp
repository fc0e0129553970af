// GBNF text → Grammar: characters become sequences of bytes, repetitions become rules.
#include <algorithm>
#include <map>

#include "plait/core/error.h"
#include "plait/runtime/generate/grammar.h"

namespace plait::runtime {
namespace {

constexpr const char* kUnit = "grammar";
constexpr size_t kMaxElements = 400'000;

using Element = Grammar::Element;
using Kind = Element::Kind;
using Sequence = std::vector<Element>;
using Alternatives = std::vector<Sequence>;
using Range = std::pair<uint32_t, uint32_t>;

std::string utf8_of(uint32_t c) {
  std::string out;
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | (c >> 6));
    out += static_cast<char>(0x80 | (c & 63));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | (c >> 12));
    out += static_cast<char>(0x80 | ((c >> 6) & 63));
    out += static_cast<char>(0x80 | (c & 63));
  } else {
    out += static_cast<char>(0xF0 | (c >> 18));
    out += static_cast<char>(0x80 | ((c >> 12) & 63));
    out += static_cast<char>(0x80 | ((c >> 6) & 63));
    out += static_cast<char>(0x80 | (c & 63));
  }
  return out;
}

/// Characters [low, high], whose UTF-8 has one length, as sequences of ranges of bytes.
void split_range(uint32_t low, uint32_t high, std::vector<std::vector<Range>>& out) {
  const std::string a = utf8_of(low), b = utf8_of(high);
  for (uint32_t bits = 6; bits < 6 * a.size(); bits += 6) {
    const uint32_t mask = (1U << bits) - 1;
    if ((low & ~mask) == (high & ~mask)) continue;
    if ((low & mask) != 0) {
      split_range(low, low | mask, out);
      split_range((low | mask) + 1, high, out);
      return;
    }
    if ((high & mask) != mask) {
      split_range(low, (high & ~mask) - 1, out);
      split_range(high & ~mask, high, out);
      return;
    }
  }
  std::vector<Range> bytes;
  for (size_t i = 0; i < a.size(); ++i)
    bytes.emplace_back(static_cast<unsigned char>(a[i]), static_cast<unsigned char>(b[i]));
  out.push_back(std::move(bytes));
}

class Reader {
 public:
  explicit Reader(const std::string& text) : text_(text) {}

  std::shared_ptr<const Grammar> run() {
    skip(true);
    while (at_ < text_.size()) {
      const std::string rule = name();
      skip(true);
      if (text_.compare(at_, 3, "::=") != 0) wrong("expected ::=");
      at_ += 3;
      const int32_t id = rule_of(rule);
      if (defined_[static_cast<size_t>(id)]) wrong("the rule " + rule + " is there already");
      defined_[static_cast<size_t>(id)] = true;
      Alternatives all = alternatives(0);
      rules_[static_cast<size_t>(id)] = std::move(all);
      skip(true);
    }
    auto root = names_.find("root");
    if (root == names_.end())
      fail(ErrorCode::kInvalidArgument, kUnit, "expected a rule named root");
    for (const auto& [rule, id] : names_) {
      if (!defined_[static_cast<size_t>(id)])
        fail(ErrorCode::kInvalidArgument, kUnit, "there is no rule " + rule.substr(0, 80));
    }
    return assemble(root->second);
  }

 private:
  [[noreturn]] void wrong(const std::string& message) const {
    const auto line = 1 + std::count(text_.begin(), text_.begin() + static_cast<long>(at_), '\n');
    fail(ErrorCode::kCorruptData, kUnit, "line " + std::to_string(line) + ": " + message);
  }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  static bool in_name(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
  }
  void skip(bool lines) {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '#') {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else if (c == ' ' || c == '\t' || (lines && (c == '\n' || c == '\r'))) {
        ++at_;
      } else {
        return;
      }
    }
  }
  std::string name() {
    const size_t begin = at_;
    while (at_ < text_.size() && in_name(text_[at_])) ++at_;
    if (at_ == begin) wrong("expected the name of a rule");
    return text_.substr(begin, at_ - begin);
  }
  int32_t new_rule() {
    rules_.emplace_back();
    defined_.push_back(true);
    return static_cast<int32_t>(rules_.size()) - 1;
  }
  int32_t rule_of(const std::string& rule) {
    auto [it, added] = names_.emplace(rule, static_cast<int32_t>(rules_.size()));
    if (added) {
      new_rule();
      defined_.back() = false;
    }
    return it->second;
  }
  int32_t set_of(const Grammar::Bytes& bytes) {
    auto [it, added] = set_numbers_.emplace(bytes.to_string(), static_cast<int32_t>(sets_.size()));
    if (added) sets_.push_back(bytes);
    return it->second;
  }
  void count(size_t elements) {
    if ((elements_ += elements) > kMaxElements)
      fail(ErrorCode::kResourceLimit, kUnit, "expected a smaller grammar");
  }
  Element as_rule(Alternatives all) {
    const int32_t id = new_rule();
    for (const Sequence& s : all) count(s.size() + 1);
    rules_[static_cast<size_t>(id)] = std::move(all);
    return {Kind::kRule, id};
  }

  Alternatives alternatives(int depth) {
    if (depth > 100) fail(ErrorCode::kResourceLimit, kUnit, "expected parentheses less deep");
    Alternatives out;
    do {
      skip(true);
      out.push_back(sequence(depth));
      skip(true);
    } while (peek() == '|' && ++at_);
    return out;
  }

  /// Another rule begins here: "name ::=".
  bool at_rule() {
    const size_t begin = at_;
    while (at_ < text_.size() && in_name(text_[at_])) ++at_;
    skip(true);
    const bool yes = text_.compare(at_, 3, "::=") == 0;
    at_ = begin;
    return yes;
  }

  Sequence sequence(int depth) {
    Sequence out;
    while (true) {
      skip(true);
      const char c = peek();
      Sequence item;
      if (c == '"') {
        item = literal();
      } else if (c == '[') {
        item = {characters()};
      } else if (c == '.') {
        ++at_;
        item = {any_of({{0, 0x10FFFF}})};
      } else if (c == '(') {
        ++at_;
        item = {as_rule(alternatives(depth + 1))};
        skip(true);
        if (peek() != ')') wrong("expected )");
        ++at_;
      } else if (in_name(c) && !at_rule()) {
        item = {{Kind::kRule, rule_of(name())}};
      } else {
        if (c != '\0' && c != '|' && c != ')' && !in_name(c)) wrong("unexpected character");
        return out;
      }
      repeat(item);
      count(item.size());
      out.insert(out.end(), item.begin(), item.end());
    }
  }

  void repeat(Sequence& item) {
    skip(false);
    const char c = peek();
    int64_t low = 1;
    int64_t high = 1;  // -1: without end
    if (c == '*' || c == '+' || c == '?') {
      ++at_;
      low = c == '+' ? 1 : 0;
      if (c != '?') high = -1;
    } else if (c == '{') {
      ++at_;
      low = number();
      high = low;
      if (peek() == ',') {
        ++at_;
        high = -1;
        if (peek() != '}') high = number();
      }
      if (peek() != '}') wrong("expected }");
      ++at_;
      if (high >= 0 && high < low) wrong("expected numbers in order");
    } else {
      return;
    }
    // One element, so that copies are short.
    Element one = item.size() == 1 ? item[0] : as_rule({item});
    Sequence out(static_cast<size_t>(low), one);
    if (high < 0) {
      const int32_t again = new_rule();
      rules_[static_cast<size_t>(again)] = {{one, {Kind::kRule, again}}, {}};
      count(4);
      out.push_back({Kind::kRule, again});
    } else {
      Element rest{Kind::kEnd};
      for (int64_t i = low; i < high; ++i) {
        Sequence more = {one};
        if (rest.kind == Kind::kRule) more.push_back(rest);
        rest = as_rule({more, {}});
      }
      if (rest.kind == Kind::kRule) out.push_back(rest);
    }
    item = std::move(out);
  }

  int64_t number() {
    int64_t out = 0;
    const size_t begin = at_;
    while (peek() >= '0' && peek() <= '9') {
      out = out * 10 + (text_[at_++] - '0');
      if (out > 10000) fail(ErrorCode::kResourceLimit, kUnit, "expected at most 10,000 times");
    }
    if (at_ == begin) wrong("expected a number");
    return out;
  }

  uint32_t hexadecimal(size_t digits) {
    uint32_t out = 0;
    for (size_t i = 0; i < digits; ++i, ++at_) {
      const char c = peek();
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) wrong("expected hexadecimal digits");
      out = out * 16 + static_cast<uint32_t>(digit);
    }
    return out;
  }

  /// One character, escapes resolved.
  uint32_t character() {
    if (at_ >= text_.size()) wrong("expected a character");
    const auto c = static_cast<unsigned char>(text_[at_++]);
    if (c == '\\') {
      const char e = peek();
      if (e == '\0') wrong("expected a character");
      ++at_;
      switch (e) {
        case 'n': return '\n';
        case 't': return '\t';
        case 'r': return '\r';
        case 'x': return hexadecimal(2);
        case 'u': return hexadecimal(4);
        case 'U': return std::min(hexadecimal(8), 0x10FFFFU);
        default: return static_cast<unsigned char>(e);
      }
    }
    if (c < 0x80) return c;
    const int more = c >= 0xF0 ? 3 : c >= 0xE0 ? 2 : 1;
    uint32_t out = c & (0x3FU >> more);
    for (int i = 0; i < more; ++i, ++at_) {
      const auto next = static_cast<unsigned char>(peek());
      if ((next & 0xC0) != 0x80) wrong("expected UTF-8");
      out = out << 6 | (next & 63);
    }
    return std::min(out, 0x10FFFFU);
  }

  Sequence literal() {
    Sequence out;
    ++at_;
    while (peek() != '"') {
      if (at_ >= text_.size()) wrong("expected the end of a text");
      for (char byte : utf8_of(character())) {
        Grammar::Bytes bytes;
        bytes.set(static_cast<unsigned char>(byte));
        out.push_back({Kind::kBytes, set_of(bytes)});
      }
    }
    ++at_;
    return out;
  }

  Element characters() {
    ++at_;
    const bool negated = peek() == '^';
    if (negated) ++at_;
    std::vector<Range> ranges;
    while (peek() != ']') {
      if (at_ >= text_.size()) wrong("expected ]");
      const uint32_t low = character();
      uint32_t high = low;
      if (peek() == '-' && at_ + 1 < text_.size() && text_[at_ + 1] != ']') {
        ++at_;
        high = character();
      }
      if (high < low) wrong("expected a range in order");
      ranges.emplace_back(low, high);
    }
    ++at_;
    std::sort(ranges.begin(), ranges.end());
    if (!negated) return any_of(ranges);
    std::vector<Range> others;
    uint32_t next = 0;
    for (const auto& [low, high] : ranges) {
      if (low > next) others.emplace_back(next, low - 1);
      next = std::max(next, high + 1);
    }
    if (next <= 0x10FFFF) others.emplace_back(next, 0x10FFFF);
    return any_of(others);
  }

  /// A set of bytes where that does, else a rule over the bytes of UTF-8.
  Element any_of(const std::vector<Range>& ranges) {
    constexpr Range kLengths[] = {
        {0, 0x7F}, {0x80, 0x7FF}, {0x800, 0xD7FF}, {0xE000, 0xFFFF}, {0x10000, 0x10FFFF}};
    Grammar::Bytes plain;
    std::vector<std::vector<Range>> longer;
    for (const auto& [low, high] : ranges) {
      for (const auto& [first, last] : kLengths) {
        const uint32_t a = std::max(low, first), b = std::min(high, last);
        if (a > b) continue;
        if (last == 0x7F) {
          for (uint32_t c = a; c <= b; ++c) plain.set(c);
        } else {
          split_range(a, b, longer);
        }
      }
    }
    if (longer.empty()) return {Kind::kBytes, set_of(plain)};
    Alternatives all;
    if (plain.any()) all.push_back({{Kind::kBytes, set_of(plain)}});
    for (const std::vector<Range>& bytes : longer) {
      Sequence sequence;
      for (const auto& [a, b] : bytes) {
        Grammar::Bytes set;
        for (uint32_t c = a; c <= b; ++c) set.set(c);
        sequence.push_back({Kind::kBytes, set_of(set)});
      }
      all.push_back(std::move(sequence));
    }
    return as_rule(std::move(all));
  }

  std::shared_ptr<const Grammar> assemble(int32_t root) const {
    std::vector<Element> elements;
    std::vector<Grammar::Rule> rules(rules_.size());
    for (size_t i = 0; i < rules_.size(); ++i) {
      for (const Sequence& sequence : rules_[i]) {
        rules[i].alternatives.push_back(static_cast<int32_t>(elements.size()));
        elements.insert(elements.end(), sequence.begin(), sequence.end());
        elements.push_back({Kind::kEnd});
      }
    }
    return std::make_shared<Grammar>(std::move(elements), std::move(rules), sets_, root);
  }

  const std::string& text_;
  size_t at_ = 0, elements_ = 0;
  std::map<std::string, int32_t> names_;
  std::vector<Alternatives> rules_;
  std::vector<bool> defined_;
  std::vector<Grammar::Bytes> sets_;
  std::map<std::string, int32_t> set_numbers_;
};

}  // namespace

std::shared_ptr<const Grammar> Grammar::from_gbnf(const std::string& text) {
  if (text.size() > size_t{1} << 20)
    fail(ErrorCode::kResourceLimit, kUnit, "expected a grammar of at most 1 MiB");
  return Reader(text).run();
}

}  // namespace plait::runtime
