#include "plait/data/text/jinja_lexer.h"

#include <algorithm>
#include <string_view>

#include "plait/core/error.h"
#include "plait/data/text/unicode.h"

namespace plait::data::jinja {
namespace {

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f';
}
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool starts_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)) {}

  std::vector<Lexeme> run() {
    while (at_ < source_.size()) {
      const size_t tag = next_tag();
      if (tag == std::string::npos) {
        push_text(source_.substr(at_));
        break;
      }
      const char kind = source_[tag + 1];
      const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
      std::string text = source_.substr(at_, tag - at_);
      const bool stripped = sign == '-';
      if (stripped) {
        while (!text.empty() && is_space(text.back())) text.pop_back();
      } else if (kind != '{' && sign != '+') {
        strip_line(text);
      }
      push_text(text);
      line_ += static_cast<int>(std::count(source_.begin() + static_cast<long>(at_),
                                           source_.begin() + static_cast<long>(tag), '\n'));
      at_ = tag + 2;
      if (sign == '-' || (sign == '+' && kind != '{')) ++at_;
      if (kind == '#') {
        skip_comment();
      } else if (!raw_block(kind)) {
        read_tag(kind);
      }
    }
    lexemes_.push_back({Lexeme::Kind::kEnd, "", line_});
    return std::move(lexemes_);
  }

 private:
  size_t next_tag() const {
    for (size_t i = at_; i + 1 < source_.size(); ++i) {
      if (source_[i] == '{' &&
          (source_[i + 1] == '{' || source_[i + 1] == '%' || source_[i + 1] == '#'))
        return i;
    }
    return std::string::npos;
  }

  void push_text(std::string text) {
    if (!text.empty()) lexemes_.push_back({Lexeme::Kind::kText, std::move(text), line_});
  }

  /// lstrip_blocks: blanks between the begin of a line and a block.
  void strip_line(std::string& text) const {
    const size_t newline = text.rfind('\n');
    const size_t begin = newline == std::string::npos ? 0 : newline + 1;
    if (begin == 0 && !line_begins_) return;
    if (text.find_first_not_of(" \t", begin) == std::string::npos) text.resize(begin);
  }

  /// Behind a tag: "-" takes all white space; a block or comment takes one newline, unless "+".
  void after_tag(char sign, bool block) {
    line_begins_ = false;
    if (sign == '-') {
      while (at_ < source_.size() && is_space(source_[at_])) {
        if (source_[at_] == '\n') ++line_;
        line_begins_ = source_[at_] == '\n';
        ++at_;
      }
    } else if (block && sign != '+' && at_ < source_.size() && source_[at_] == '\n') {
      ++at_;
      ++line_;
      line_begins_ = true;
    }
  }

  void skip_comment() {
    const size_t end = source_.find("#}", at_);
    if (end == std::string::npos) fail_parse(line_, "expected the end of a comment");
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<long>(at_),
                                         source_.begin() + static_cast<long>(end), '\n'));
    const char sign = end > at_ ? source_[end - 1] : '\0';
    at_ = end + 2;
    after_tag(sign, true);
  }

  /// {% raw %}: text up to {% endraw %}. False when the block is another one.
  bool raw_block(char kind) {
    if (kind != '%') return false;
    size_t i = at_;
    char sign = '\0';
    if (!word_block("raw", i, sign)) return false;
    at_ = i;
    after_tag(sign, true);
    for (size_t open = source_.find("{%", at_); open != std::string::npos;
         open = source_.find("{%", open + 2)) {
      size_t end = open + 2;
      const char before = end < source_.size() ? source_[end] : '\0';
      if (before == '-' || before == '+') ++end;
      if (!word_block("endraw", end, sign)) continue;
      std::string text = source_.substr(at_, open - at_);
      if (before == '-') {
        while (!text.empty() && is_space(text.back())) text.pop_back();
      } else if (before != '+') {
        strip_line(text);
      }
      push_text(text);
      at_ = end;
      after_tag(sign, true);
      return true;
    }
    fail_parse(line_, "expected {% endraw %}");
  }

  /// Reads "  word  %}" from i on, with the sign before "%}".
  bool word_block(std::string_view word, size_t& i, char& sign) const {
    size_t p = i;
    while (p < source_.size() && is_space(source_[p])) ++p;
    if (source_.compare(p, word.size(), word) != 0) return false;
    p += word.size();
    while (p < source_.size() && is_space(source_[p])) ++p;
    sign = '\0';
    if (p < source_.size() && (source_[p] == '-' || source_[p] == '+')) sign = source_[p++];
    if (source_.compare(p, 2, "%}") != 0) return false;
    i = p + 2;
    return true;
  }

  void push(Lexeme::Kind kind, std::string text) {
    lexemes_.push_back({kind, std::move(text), line_});
  }

  void read_tag(char kind) {
    const std::string close = kind == '{' ? "}}" : "%}";
    push(Lexeme::Kind::kOpen, kind == '{' ? "{{" : "{%");
    int depth = 0;
    while (true) {
      if (at_ >= source_.size()) fail_parse(line_, "expected " + close);
      const char c = source_[at_];
      if (is_space(c)) {
        if (c == '\n') ++line_;
        ++at_;
        continue;
      }
      if (depth == 0) {
        const bool sign = c == '-' || (c == '+' && kind == '%');
        if (source_.compare(at_ + (sign ? 1 : 0), 2, close) == 0) {
          at_ += sign ? 3 : 2;
          push(Lexeme::Kind::kClose, close);
          after_tag(sign ? c : '\0', kind == '%');
          return;
        }
      }
      if (c == '(' || c == '[' || c == '{') ++depth;
      if (c == ')' || c == ']' || c == '}') --depth;
      read_lexeme(c);
    }
  }

  void read_lexeme(char c) {
    if (starts_name(c)) {
      const size_t begin = at_;
      while (at_ < source_.size() && (starts_name(source_[at_]) || is_digit(source_[at_]))) ++at_;
      return push(Lexeme::Kind::kName, source_.substr(begin, at_ - begin));
    }
    if (is_digit(c)) return read_number();
    if (c == '"' || c == '\'') return read_string(c);
    for (const char* op : {"==", "!=", "<=", ">=", "//", "**"}) {
      if (source_.compare(at_, 2, op) == 0) {
        at_ += 2;
        return push(Lexeme::Kind::kOperator, op);
      }
    }
    if (std::string_view("+-*/%~<>=()[]{}.,:|;").find(c) == std::string_view::npos)
      fail_parse(line_, "unexpected character in a tag");
    ++at_;
    push(Lexeme::Kind::kOperator, std::string(1, c));
  }

  void read_number() {
    std::string digits;
    bool whole = true;
    const auto digit = [&](size_t i) { return i < source_.size() && is_digit(source_[i]); };
    while (at_ < source_.size()) {
      const char c = source_[at_];
      const bool exponent =
          (c == 'e' || c == 'E') &&
          (digit(at_ + 1) ||
           (at_ + 1 < source_.size() && (source_[at_ + 1] == '-' || source_[at_ + 1] == '+') &&
            digit(at_ + 2)));
      if (is_digit(c)) {
        digits += c;
      } else if (c == '_' && digit(at_ + 1)) {
        // Grouping.
      } else if (c == '.' && whole && digit(at_ + 1)) {
        whole = false;
        digits += c;
      } else if (exponent) {
        whole = false;
        digits += c;
        digits += source_[++at_];
      } else {
        break;
      }
      ++at_;
    }
    if (digits.size() > (whole ? 18U : 64U)) fail_parse(line_, "expected a shorter number");
    push(whole ? Lexeme::Kind::kInteger : Lexeme::Kind::kFloat, digits);
  }

  void read_string(char quote) {
    std::string out;
    const int line = line_;
    for (++at_; at_ < source_.size() && source_[at_] != quote; ++at_) {
      char c = source_[at_];
      if (c == '\n') ++line_;
      if (c != '\\') {
        out += c;
        continue;
      }
      if (++at_ >= source_.size()) break;
      c = source_[at_];
      switch (c) {
        case 'n': out += '\n'; break;
        case 't': out += '\t'; break;
        case 'r': out += '\r'; break;
        case 'b': out += '\b'; break;
        case 'f': out += '\f'; break;
        case 'v': out += '\v'; break;
        case 'a': out += '\a'; break;
        case '0': out += '\0'; break;
        case '\n': break;
        case '\\':
        case '\'':
        case '"': out += c; break;
        case 'x': out += code_point(2); break;
        case 'u': out += code_point(4); break;
        case 'U': out += code_point(8); break;
        default: out += '\\'; out += c;
      }
    }
    if (at_ >= source_.size()) fail_parse(line, "expected the end of a string");
    ++at_;
    push(Lexeme::Kind::kString, std::move(out));
  }

  std::string code_point(size_t digits) {
    uint32_t value = 0;
    for (size_t i = 0; i < digits; ++i) {
      const char c = at_ + 1 < source_.size() ? source_[at_ + 1] : '\0';
      const int digit = is_digit(c)            ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) fail_parse(line_, "expected hexadecimal digits");
      value = value * 16 + static_cast<uint32_t>(digit);
      ++at_;
    }
    if (value > 0x10FFFF || (value >= 0xD800 && value < 0xE000))
      fail_parse(line_, "expected a character of Unicode");
    std::string out;
    append_utf8(out, static_cast<char32_t>(value));
    return out;
  }

  std::string source_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_begins_ = true;
  std::vector<Lexeme> lexemes_;
};

}  // namespace

void fail_parse(int line, const std::string& message) {
  fail(ErrorCode::kCorruptData, "template", "line " + std::to_string(line) + ": " + message);
}

std::vector<Lexeme> split_lexemes(std::string source) {
  std::string lines;
  lines.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      lines += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      lines += source[i];
    }
  }
  if (lines.ends_with('\n')) lines.pop_back();
  return Lexer(std::move(lines)).run();
}

}  // namespace plait::data::jinja
