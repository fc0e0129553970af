#pragma once
#include <string>
#include <vector>

namespace plait::data::jinja {

struct Lexeme {
  enum class Kind {
    kText,   ///< Outside of tags
    kOpen,   ///< "{{" or "{%"
    kClose,  ///< "}}" or "%}"
    kName,
    kString,
    kInteger,
    kFloat,
    kOperator,
    kEnd
  };
  Kind kind;
  std::string text;
  int line;
};

/// Throws kCorruptData "[template] line N: message".
[[noreturn]] void fail_parse(int line, const std::string& message);

/// Splits a template into texts and the lexemes of its tags; comments go, and white space around
/// tags goes as "-", "+", trim_blocks and lstrip_blocks say.
std::vector<Lexeme> split_lexemes(std::string source);

}  // namespace plait::data::jinja
