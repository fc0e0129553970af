#pragma once
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "plait/data/text/jinja_value.h"

namespace plait::data::jinja {

/// One expression. What the children are depends on the kind.
struct Expression {
  enum class Kind {
    kLiteral,    ///< value
    kName,       ///< name
    kList,       ///< children; a tuple when it has a name
    kDict,       ///< children: key, value, key, value ...
    kAttribute,  ///< [object].name
    kItem,       ///< [object, index]
    kSlice,      ///< [object, begin, end, step], each but the first may be null
    kCall,       ///< [callee, arguments...], named
    kFilter,     ///< [operand, arguments...] | name, named
    kTest,       ///< [operand, arguments...] is name
    kNot,        ///< [operand]
    kNegative,   ///< [operand]
    kPositive,   ///< [operand]
    kBinary,     ///< [a, b] by name
    kAnd,        ///< [a, b]
    kOr,         ///< [a, b]
    kCompare,    ///< [a, b, c ...] by operators: each with the next
    kChoice      ///< [then, condition, else or null]
  };
  Kind kind;
  std::string name;
  Value value;
  std::vector<std::unique_ptr<Expression>> children;
  std::vector<std::pair<std::string, std::unique_ptr<Expression>>> named;
  std::vector<std::string> operators;
};
using ExpressionPtr = std::unique_ptr<Expression>;

/// One statement.
struct Statement {
  enum class Kind {
    kText,      ///< text
    kOutput,    ///< expression
    kIf,        ///< branches; the last may have no condition
    kFor,       ///< names in expression [if condition]: body, or otherwise
    kSet,       ///< names (or one "object.attribute") = expression, or = body
    kMacro,     ///< name(parameters): body
    kFilter,    ///< body | expression, whose innermost operand is null
    kBreak,     ///< of a loop
    kContinue,  ///< of a loop
    kBlock      ///< body
  };
  explicit Statement(Kind k) : kind(k) {}
  Kind kind;
  std::string text;
  std::vector<std::string> names;
  ExpressionPtr expression, condition;
  std::vector<std::pair<std::string, ExpressionPtr>> parameters;  ///< With defaults, or null
  std::vector<std::pair<ExpressionPtr, std::vector<Statement>>> branches;
  std::vector<Statement> body, otherwise;
};

/// Parses a template with trim_blocks and lstrip_blocks on, as transformers does.
/// @throws Error kCorruptData with the line; kResourceLimit for nesting deeper than 100.
std::vector<Statement> parse(const std::string& source);

}  // namespace plait::data::jinja
