#include "plait/data/text/jinja_parser.h"

#include <algorithm>
#include <cstdlib>
#include <set>

#include "plait/core/error.h"
#include "plait/data/text/jinja_lexer.h"

namespace plait::data::jinja {
namespace {

using Kind = Expression::Kind;

class Parser {
 public:
  explicit Parser(std::vector<Lexeme> lexemes) : lexemes_(std::move(lexemes)) {}

  std::vector<Statement> run() {
    std::vector<Statement> out = block({});
    if (peek().kind != Lexeme::Kind::kEnd) fail_parse(peek().line, "expected the template's end");
    return out;
  }

 private:
  /// Counts nesting while it lives.
  struct Deeper {
    explicit Deeper(Parser& p) : parser(p) {
      if (++parser.depth_ > 100)
        fail(ErrorCode::kResourceLimit, "template", "expected nesting of at most 100");
    }
    ~Deeper() { --parser.depth_; }
    Parser& parser;
  };

  const Lexeme& peek(size_t ahead = 0) const {
    return lexemes_[std::min(at_ + ahead, lexemes_.size() - 1)];
  }
  const Lexeme& next() {
    const Lexeme& out = peek();
    if (at_ + 1 < lexemes_.size()) ++at_;
    return out;
  }
  bool is_op(const char* op, size_t ahead = 0) const {
    return peek(ahead).kind == Lexeme::Kind::kOperator && peek(ahead).text == op;
  }
  bool is_name(const char* name, size_t ahead = 0) const {
    return peek(ahead).kind == Lexeme::Kind::kName && peek(ahead).text == name;
  }
  bool take_op(const char* op) { return is_op(op) && (next(), true); }
  bool take_name(const char* name) { return is_name(name) && (next(), true); }
  void need_op(const char* op) {
    if (!take_op(op)) fail_parse(peek().line, std::string("expected ") + op);
  }
  void need_name(const char* name) {
    if (!take_name(name)) fail_parse(peek().line, std::string("expected ") + name);
  }
  std::string name() {
    if (peek().kind != Lexeme::Kind::kName) fail_parse(peek().line, "expected a name");
    return next().text;
  }
  void close() {
    if (peek().kind != Lexeme::Kind::kClose) fail_parse(peek().line, "expected the end of the tag");
    next();
  }

  static ExpressionPtr make(Kind kind, std::string name = "") {
    auto out = std::make_unique<Expression>();
    out->kind = kind;
    out->name = std::move(name);
    return out;
  }
  template <class... Children>
  static ExpressionPtr make_with(Kind kind, std::string name, Children... children) {
    auto out = make(kind, std::move(name));
    (out->children.push_back(std::move(children)), ...);
    return out;
  }

  /// Statements up to a block tag that starts with one of `ends`, which is left to be read.
  std::vector<Statement> block(const std::set<std::string>& ends) {
    Deeper deeper(*this);
    std::vector<Statement> out;
    while (true) {
      const Lexeme& lexeme = peek();
      if (lexeme.kind == Lexeme::Kind::kEnd) {
        if (!ends.empty()) fail_parse(lexeme.line, "expected " + *ends.begin());
        return out;
      }
      if (lexeme.kind == Lexeme::Kind::kText) {
        Statement s{Statement::Kind::kText};
        s.text = next().text;
        out.push_back(std::move(s));
      } else if (lexeme.text == "{{") {
        next();
        Statement s{Statement::Kind::kOutput};
        s.expression = tuple();
        close();
        out.push_back(std::move(s));
      } else {
        if (ends.count(peek(1).text)) return out;
        next();
        out.push_back(statement());
      }
    }
  }

  /// {% end... %}
  void end(const char* word) {
    next();
    need_name(word);
    close();
  }

  Statement statement() {
    const int line = peek().line;
    const std::string word = name();
    if (word == "if") return if_statement();
    if (word == "for") return for_statement();
    if (word == "set") return set_statement();
    if (word == "macro") return macro_statement();
    if (word == "break" || word == "continue") {
      close();
      return Statement(word == "break" ? Statement::Kind::kBreak : Statement::Kind::kContinue);
    }
    if (word == "filter") {
      Statement s{Statement::Kind::kFilter};
      s.expression = filters(nullptr, true);
      close();
      s.body = block({"endfilter"});
      end("endfilter");
      return s;
    }
    if (word == "generation") {
      // Marks what the assistant wrote, for training; the text is the same.
      close();
      Statement s{Statement::Kind::kBlock};
      s.body = block({"endgeneration"});
      end("endgeneration");
      return s;
    }
    fail_parse(line, "expected a block that Plait has, got " + word.substr(0, 40));
  }

  Statement if_statement() {
    Statement s{Statement::Kind::kIf};
    ExpressionPtr condition = tuple();
    close();
    while (true) {
      std::vector<Statement> body = block({"elif", "else", "endif"});
      s.branches.emplace_back(std::move(condition), std::move(body));
      next();
      const std::string word = name();
      if (word == "elif") condition = tuple();
      close();
      if (word == "endif") return s;
      if (word == "else") {
        s.branches.emplace_back(nullptr, block({"endif"}));
        end("endif");
        return s;
      }
    }
  }

  std::vector<std::string> targets() {
    std::vector<std::string> out;
    const bool parens = take_op("(");
    do {
      if (!out.empty() && peek().kind != Lexeme::Kind::kName) break;
      out.push_back(name());
    } while (take_op(","));
    if (parens) need_op(")");
    return out;
  }

  Statement for_statement() {
    Statement s{Statement::Kind::kFor};
    s.names = targets();
    need_name("in");
    s.expression = tuple(/*choice=*/false);
    if (take_name("if")) s.condition = expression();
    if (is_name("recursive")) fail_parse(peek().line, "recursive loops are not supported");
    close();
    s.body = block({"endfor", "else"});
    next();
    if (take_name("else")) {
      close();
      s.otherwise = block({"endfor"});
      next();
    }
    need_name("endfor");
    close();
    return s;
  }

  Statement set_statement() {
    Statement s{Statement::Kind::kSet};
    if (is_op(".", 1)) {
      std::string object = name();
      next();
      s.names = {object + "." + name()};
    } else {
      s.names = targets();
    }
    if (take_op("=")) {
      s.expression = tuple();
      close();
      return s;
    }
    if (s.names.size() != 1) fail_parse(peek().line, "expected =");
    // {% set x | filter %} ... {% endset %}
    if (is_op("|")) s.condition = filters(nullptr, false);
    close();
    s.body = block({"endset"});
    end("endset");
    return s;
  }

  Statement macro_statement() {
    Statement s{Statement::Kind::kMacro};
    s.text = name();
    need_op("(");
    while (!take_op(")")) {
      if (!s.parameters.empty()) {
        need_op(",");
        if (take_op(")")) break;
      }
      std::string parameter = name();
      ExpressionPtr fallback = take_op("=") ? expression() : nullptr;
      s.parameters.emplace_back(std::move(parameter), std::move(fallback));
    }
    close();
    s.body = block({"endmacro"});
    next();
    need_name("endmacro");
    if (peek().kind == Lexeme::Kind::kName) next();
    close();
    return s;
  }

  /// One expression, or several with commas as a list.
  ExpressionPtr tuple(bool choice = true) {
    ExpressionPtr first = choice ? expression() : either();
    if (!is_op(",")) return first;
    auto out = make(Kind::kList, "tuple");
    out->children.push_back(std::move(first));
    while (take_op(",")) {
      if (peek().kind == Lexeme::Kind::kClose || is_op(")")) break;
      out->children.push_back(choice ? expression() : either());
    }
    return out;
  }

  ExpressionPtr expression() {
    Deeper deeper(*this);
    ExpressionPtr out = either();
    while (take_name("if")) {
      ExpressionPtr condition = either();
      ExpressionPtr otherwise = take_name("else") ? expression() : nullptr;
      out =
          make_with(Kind::kChoice, "", std::move(out), std::move(condition), std::move(otherwise));
    }
    return out;
  }
  ExpressionPtr either() {
    ExpressionPtr out = both();
    while (take_name("or")) out = make_with(Kind::kOr, "", std::move(out), both());
    return out;
  }
  ExpressionPtr both() {
    ExpressionPtr out = negation();
    while (take_name("and")) out = make_with(Kind::kAnd, "", std::move(out), negation());
    return out;
  }
  ExpressionPtr negation() {
    Deeper deeper(*this);
    if (take_name("not")) return make_with(Kind::kNot, "", negation());
    return comparison();
  }
  ExpressionPtr comparison() {
    ExpressionPtr first = sum();
    ExpressionPtr out;
    const auto add = [&](std::string op) {
      if (!out) out = make_with(Kind::kCompare, "", std::move(first));
      out->operators.push_back(std::move(op));
      out->children.push_back(sum());
    };
    while (true) {
      const Lexeme& lexeme = peek();
      const std::string text = lexeme.text;
      if (lexeme.kind == Lexeme::Kind::kOperator && (text == "==" || text == "!=" || text == "<" ||
                                                     text == ">" || text == "<=" || text == ">=")) {
        next();
        add(text);
      } else if (take_name("in")) {
        add("in");
      } else if (is_name("not") && is_name("in", 1)) {
        next();
        next();
        add("not in");
      } else {
        return out ? std::move(out) : std::move(first);
      }
    }
  }
  ExpressionPtr chain(const std::set<std::string>& operators, ExpressionPtr (Parser::*part)()) {
    ExpressionPtr out = (this->*part)();
    int links = 0;
    while (peek().kind == Lexeme::Kind::kOperator && operators.count(peek().text)) {
      // A chain is a tree as deep as it is long.
      if (++links > 500)
        fail(ErrorCode::kResourceLimit, "template", "expected a shorter chain of operators");
      std::string op = next().text;
      out = make_with(Kind::kBinary, std::move(op), std::move(out), (this->*part)());
    }
    return out;
  }
  ExpressionPtr sum() { return chain({"+", "-"}, &Parser::concatenation); }
  ExpressionPtr concatenation() { return chain({"~"}, &Parser::product); }
  ExpressionPtr product() { return chain({"*", "/", "//", "%"}, &Parser::power); }
  ExpressionPtr power() { return chain({"**"}, &Parser::filtered_unary); }
  ExpressionPtr filtered_unary() { return unary(true); }
  ExpressionPtr unary(bool filtered) {
    Deeper deeper(*this);
    ExpressionPtr out;
    if (take_op("-")) {
      out = make_with(Kind::kNegative, "", unary(false));
    } else if (take_op("+")) {
      out = make_with(Kind::kPositive, "", unary(false));
    } else {
      out = primary();
    }
    out = postfix(std::move(out));
    return filtered ? filters(std::move(out), false) : std::move(out);
  }

  ExpressionPtr literal(Value value) {
    auto out = make(Kind::kLiteral);
    out->value = std::move(value);
    return out;
  }

  ExpressionPtr primary() {
    const Lexeme lexeme = next();
    switch (lexeme.kind) {
      case Lexeme::Kind::kName:
        if (lexeme.text == "true" || lexeme.text == "True") return literal(true);
        if (lexeme.text == "false" || lexeme.text == "False") return literal(false);
        if (lexeme.text == "none" || lexeme.text == "None") return literal({});
        return make(Kind::kName, lexeme.text);
      case Lexeme::Kind::kString: {
        std::string text = lexeme.text;
        while (peek().kind == Lexeme::Kind::kString) text += next().text;
        return literal(std::move(text));
      }
      case Lexeme::Kind::kInteger:
        return literal(static_cast<int64_t>(std::strtoll(lexeme.text.c_str(), nullptr, 10)));
      case Lexeme::Kind::kFloat: return literal(std::strtod(lexeme.text.c_str(), nullptr));
      case Lexeme::Kind::kOperator: break;
      default: fail_parse(lexeme.line, "expected an expression");
    }
    if (lexeme.text == "(") {
      if (take_op(")")) return make(Kind::kList, "tuple");
      ExpressionPtr out = tuple();
      need_op(")");
      return out;
    }
    if (lexeme.text == "[") {
      auto out = make(Kind::kList);
      while (!take_op("]")) {
        if (!out->children.empty()) {
          need_op(",");
          if (take_op("]")) break;
        }
        out->children.push_back(expression());
      }
      return out;
    }
    if (lexeme.text == "{") {
      auto out = make(Kind::kDict);
      while (!take_op("}")) {
        if (!out->children.empty()) {
          need_op(",");
          if (take_op("}")) break;
        }
        out->children.push_back(expression());
        need_op(":");
        out->children.push_back(expression());
      }
      return out;
    }
    fail_parse(lexeme.line, "expected an expression");
  }

  ExpressionPtr postfix(ExpressionPtr out) {
    for (int links = 0;; ++links) {
      if (links > 500) fail(ErrorCode::kResourceLimit, "template", "expected a shorter chain");
      if (take_op(".")) {
        if (peek().kind == Lexeme::Kind::kInteger) {
          out = make_with(
              Kind::kItem, "", std::move(out),
              literal(static_cast<int64_t>(std::strtoll(next().text.c_str(), nullptr, 10))));
        } else {
          out = make_with(Kind::kAttribute, name(), std::move(out));
        }
      } else if (take_op("[")) {
        out = subscript(std::move(out));
      } else if (is_op("(")) {
        auto call = make_with(Kind::kCall, "", std::move(out));
        arguments(*call);
        out = std::move(call);
      } else {
        return out;
      }
    }
  }

  ExpressionPtr subscript(ExpressionPtr object) {
    ExpressionPtr parts[3];
    int part = 0;
    bool slice = false;
    while (!is_op("]")) {
      if (take_op(":")) {
        slice = true;
        if (++part > 2) fail_parse(peek().line, "expected ]");
      } else if (parts[part]) {
        fail_parse(peek().line, "expected ]");
      } else {
        parts[part] = expression();
      }
    }
    need_op("]");
    if (slice)
      return make_with(Kind::kSlice, "", std::move(object), std::move(parts[0]),
                       std::move(parts[1]), std::move(parts[2]));
    if (!parts[0]) fail_parse(peek().line, "expected an index");
    return make_with(Kind::kItem, "", std::move(object), std::move(parts[0]));
  }

  void arguments(Expression& call) {
    need_op("(");
    bool first = true;
    while (!take_op(")")) {
      if (!first) {
        need_op(",");
        if (take_op(")")) break;
      }
      first = false;
      if (peek().kind == Lexeme::Kind::kName && is_op("=", 1)) {
        std::string name = next().text;
        next();
        call.named.emplace_back(std::move(name), expression());
      } else {
        call.children.push_back(expression());
      }
    }
  }

  /// "|name(...)" and "is name ..." behind an operand. `bare`: the first filter has no "|".
  ExpressionPtr filters(ExpressionPtr out, bool bare) {
    for (int links = 0;; ++links) {
      if (links > 500) fail(ErrorCode::kResourceLimit, "template", "expected a shorter chain");
      if (bare || take_op("|")) {
        bare = false;
        auto filter = make_with(Kind::kFilter, name(), std::move(out));
        if (is_op("(")) arguments(*filter);
        out = std::move(filter);
      } else if (out && take_name("is")) {
        out = test(std::move(out));
      } else if (out && is_op("(")) {
        auto call = make_with(Kind::kCall, "", std::move(out));
        arguments(*call);
        out = std::move(call);
      } else {
        return out;
      }
    }
  }

  ExpressionPtr test(ExpressionPtr operand) {
    const bool negated = take_name("not");
    auto out = make_with(Kind::kTest, name(), std::move(operand));
    const Lexeme& lexeme = peek();
    const bool value = lexeme.kind == Lexeme::Kind::kString ||
                       lexeme.kind == Lexeme::Kind::kInteger ||
                       lexeme.kind == Lexeme::Kind::kFloat || is_op("[") || is_op("{");
    const bool word = lexeme.kind == Lexeme::Kind::kName && lexeme.text != "else" &&
                      lexeme.text != "or" && lexeme.text != "and" && lexeme.text != "is" &&
                      lexeme.text != "if" && lexeme.text != "in" && lexeme.text != "not";
    if (is_op("(")) {
      arguments(*out);
    } else if (value || word) {
      out->children.push_back(postfix(primary()));
    }
    return negated ? make_with(Kind::kNot, "", std::move(out)) : std::move(out);
  }

  std::vector<Lexeme> lexemes_;
  size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

std::vector<Statement> parse(const std::string& source) {
  return Parser(split_lexemes(source)).run();
}

}  // namespace plait::data::jinja
