// A JSON schema → GBNF.
#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "plait/core/error.h"
#include "plait/runtime/generate/grammar.h"
#include "plait/runtime/generate/json_pattern.h"

namespace plait::runtime {
namespace {

constexpr const char* kUnit = "json_schema";
constexpr int64_t kMostInteger = 999'999'999'999'999;  // the 15 digits of `integer` below

constexpr const char* kBasics = R"gbnf(
ws ::= " "?
char ::= [^"\\\x00-\x1F\x7F] | "\\" ["\\/bfnrt]
string ::= "\"" char* "\""
integer ::= "-"? ("0" | [1-9] [0-9]{0,14})
number ::= integer ("." [0-9]{1,15})? ([eE] [-+]? [0-9]{1,2})?
boolean ::= "true" | "false"
null ::= "null"
value ::= string | number | boolean | null | array | object
array ::= "[" (value ("," ws value)*)? "]"
object ::= "{" (member ("," ws member)*)? "}"
member ::= string ":" ws value
)gbnf";

/// A text of JSON as a literal of GBNF.
std::string literal(const Json& value) {
  std::string out = "\"";
  for (char c : value.dump()) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

class Writer {
 public:
  std::string run(const Json& schema) {
    root_ = &schema;
    const std::string root = rule(schema, "schema", 0);
    return "root ::= " + root + "\n" + rules_ + kBasics;
  }

 private:
  [[noreturn]] static void unsupported(const std::string& where, const std::string& key) {
    fail(ErrorCode::kInvalidArgument, kUnit,
         where + ": " + key.substr(0, 80) + " is not supported");
  }

  std::string add(const std::string& body) {
    if (++count_ > 5000) fail(ErrorCode::kResourceLimit, kUnit, "expected a smaller schema");
    const std::string name = "r" + std::to_string(count_);
    rules_ += name + " ::= " + body + "\n";
    return name;
  }

  static int64_t bound(const Json& schema, const char* key, int64_t fallback,
                       const std::string& where) {
    const Json* given = schema.find(key);
    if (!given) return fallback;
    if (!given->is_int() || given->as_int() < 0 || given->as_int() > 10000)
      fail(ErrorCode::kInvalidArgument, kUnit,
           where + ": " + key + ": expected an integer of 0 to 10,000");
    return given->as_int();
  }

  static std::string times(int64_t low, int64_t high) {
    return "{" + std::to_string(low) + "," + (high < 0 ? "" : std::to_string(high)) + "}";
  }

  /// The name of a rule (or of a basic one) for the schema.
  std::string rule(const Json& schema, const std::string& where, int depth) {
    if (depth > 64) fail(ErrorCode::kResourceLimit, kUnit, "expected a schema nested less deep");
    if (schema.is_bool()) {
      if (!schema.as_bool()) unsupported(where, "false");
      return "value";
    }
    if (!schema.is_object())
      fail(ErrorCode::kInvalidArgument, kUnit, where + ": expected an object");
    static const std::set<std::string> kKnown = {
        "type", "properties", "required", "additionalProperties", "items", "minItems", "maxItems",
        "minLength", "maxLength", "pattern", "minimum", "maximum", "exclusiveMinimum",
        "exclusiveMaximum", "enum", "const", "anyOf", "oneOf", "$ref", "$defs", "definitions",
        // Without effect on what is accepted.
        "title", "description", "default", "examples", "$schema", "$id", "$comment", "deprecated",
        "readOnly", "writeOnly"};
    for (const auto& [key, value] : schema.members()) {
      if (!kKnown.count(key)) unsupported(where, key);
    }
    if (const Json* target = schema.find("$ref")) return reference(schema, *target, where, depth);
    for (const char* fixed : {"const", "enum"}) {
      for (const char* key : {"minLength", "maxLength", "minItems", "maxItems", "pattern",
                              "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}) {
        if (schema.contains(fixed) && schema.contains(key))
          unsupported(where, std::string(key) + " beside " + fixed);
      }
    }
    if (const Json* value = schema.find("const")) return add(literal(*value));
    if (const Json* values = schema.find("enum")) {
      std::string body;
      for (const Json& value : values->items())
        body += (body.empty() ? "" : " | ") + literal(value);
      if (body.empty()) unsupported(where, "an empty enum");
      return add(body);
    }
    for (const char* key : {"anyOf", "oneOf"}) {
      const Json* options = schema.find(key);
      if (!options) continue;
      if (schema.contains("type") || schema.contains("properties"))
        unsupported(where, std::string(key) + " beside other keys");
      std::string body;
      for (size_t i = 0; i < options->items().size(); ++i) {
        body += (i > 0 ? " | " : "") +
                rule(options->at(i), where + "." + key + "[" + std::to_string(i) + "]", depth + 1);
      }
      if (body.empty()) unsupported(where, std::string("an empty ") + key);
      return add(body);
    }
    const Json* type = schema.find("type");
    if (type && type->is_array()) {
      std::string body;
      for (const Json& one : type->items())
        body += (body.empty() ? "" : " | ") + typed(schema, one.as_string(), where, depth);
      if (body.empty()) unsupported(where, "an empty type");
      return add(body);
    }
    if (type) return typed(schema, type->as_string(), where, depth);
    if (schema.contains("properties")) return object(schema, where, depth);
    if (schema.contains("items")) return array(schema, where, depth);
    for (const char* key : {"minLength", "maxLength", "minItems", "maxItems", "required", "pattern",
                            "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}) {
      if (schema.contains(key)) unsupported(where, std::string(key) + " without type");
    }
    return "value";
  }

  std::string typed(const Json& schema, const std::string& type, const std::string& where,
                    int depth) {
    if (type == "object") return object(schema, where, depth);
    if (type == "array") return array(schema, where, depth);
    if (type == "string") {
      const int64_t low = bound(schema, "minLength", 0, where),
                    high = bound(schema, "maxLength", -1, where);
      if (const Json* pattern = schema.find("pattern")) {
        if (low != 0 || high >= 0) unsupported(where, "pattern beside a length");
        return add(pattern_to_gbnf(pattern->as_string(), where));
      }
      if (low == 0 && high < 0) return "string";
      if (high >= 0 && high < low) unsupported(where, "maxLength below minLength");
      return add(R"("\"" char)" + times(low, high) + R"( "\"")");
    }
    if (type == "integer") return integer(schema, where);
    if (type == "number") {
      for (const char* key : {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}) {
        if (schema.contains(key))
          unsupported(where, std::string(key) + " of a type other than integer");
      }
    }
    if (type == "number" || type == "boolean" || type == "null") return type;
    unsupported(where, "type " + type);
  }

  /// The part of the whole schema that "#/$defs/name" points to (RFC 6901), as a rule that may
  /// contain itself.
  std::string reference(const Json& schema, const Json& target, const std::string& where,
                        int depth) {
    static const std::set<std::string> kBeside = {
        "$ref",     "title",   "description", "default",    "examples", "$defs",    "definitions",
        "$comment", "$schema", "$id",         "deprecated", "readOnly", "writeOnly"};
    for (const auto& [key, value] : schema.members()) {
      if (!kBeside.count(key)) unsupported(where, key + " beside $ref");
    }
    const std::string& path = target.as_string();
    if (path.empty() || path[0] != '#') unsupported(where, "$ref to another document");
    auto known = references_.find(path);
    if (known != references_.end()) return known->second;
    const Json* part = root_;
    for (size_t at = 1; at < path.size();) {
      if (path[at] != '/') unsupported(where, "$ref " + path);
      const size_t end = std::min(path.find('/', at + 1), path.size());
      std::string key;
      for (size_t i = at + 1; i < end; ++i) {
        const bool escape = path[i] == '~' && i + 1 < end;
        if (path[i] == '%') unsupported(where, "$ref with %");
        key += escape ? (path[++i] == '0' ? '~' : '/') : path[i];
      }
      const Json* next = part->find(key);
      if (!next && part->is_array() && !key.empty() && key.size() < 6 &&
          key.find_first_not_of("0123456789") == std::string::npos &&
          static_cast<size_t>(std::stoi(key)) < part->size())
        next = &part->items()[static_cast<size_t>(std::stoi(key))];
      if (!next)
        fail(ErrorCode::kInvalidArgument, kUnit,
             where + ": $ref: there is no " + path.substr(0, 80));
      part = next;
      at = end;
    }
    const std::string name = "ref" + std::to_string(references_.size());
    references_.emplace(path, name);
    const std::string body = rule(*part, path, depth + 1);
    rules_ += name + " ::= " + body + "\n";
    return name;
  }

  std::string integer(const Json& schema, const std::string& where) {
    int64_t low = -kMostInteger, high = kMostInteger;
    bool bounded = false;
    auto limit = [&](const char* key, bool lower, bool exclusive) {
      const Json* given = schema.find(key);
      if (!given) return;
      if (!given->is_number() || !std::isfinite(given->as_double()))
        fail(ErrorCode::kInvalidArgument, kUnit, where + ": " + key + ": expected a number");
      bounded = true;
      const double edge = static_cast<double>(kMostInteger);
      const double value = std::min(std::max(given->as_double(), -edge - 1), edge + 1);
      int64_t whole = static_cast<int64_t>(lower ? std::ceil(value) : std::floor(value));
      if (exclusive && static_cast<double>(whole) == value) whole += lower ? 1 : -1;
      if (lower) low = std::max(low, whole);
      if (!lower) high = std::min(high, whole);
    };
    limit("minimum", true, false);
    limit("maximum", false, false);
    limit("exclusiveMinimum", true, true);
    limit("exclusiveMaximum", false, true);
    if (!bounded) return "integer";
    if (low > high) unsupported(where, "a range without an integer of 15 digits");
    return add(integer_range_to_gbnf(low, high));
  }

  std::string array(const Json& schema, const std::string& where, int depth) {
    const Json* items = schema.find("items");
    const std::string item = items ? rule(*items, where + ".items", depth + 1) : "value";
    const int64_t low = bound(schema, "minItems", 0, where),
                  high = bound(schema, "maxItems", -1, where);
    if (high >= 0 && high < low) unsupported(where, "maxItems below minItems");
    if (high == 0) return add(R"("[]")");
    const std::string more =
        "(\",\" ws " + item + ")" + times(std::max<int64_t>(low - 1, 0), high < 0 ? -1 : high - 1);
    const std::string some = item + " " + more;
    return add("\"[\" " + (low > 0 ? some : "(" + some + ")?") + " \"]\"");
  }

  std::string object(const Json& schema, const std::string& where, int depth) {
    const Json* properties = schema.find("properties");
    const Json* additional = schema.find("additionalProperties");
    std::set<std::string> required;
    if (const Json* names = schema.find("required")) {
      for (const Json& name : names->items()) required.insert(name.as_string());
    }
    if (!properties || properties->size() == 0) {
      if (!required.empty()) unsupported(where, "required without properties");
      if (additional && additional->is_bool() && !additional->as_bool()) return add(R"("{}")");
      if (!additional || additional->is_bool()) return "object";
      const std::string member =
          add("string \":\" ws " + rule(*additional, where + ".additionalProperties", depth + 1));
      return add("\"{\" (" + member + " (\",\" ws " + member + ")*)? \"}\"");
    }
    if (additional && !(additional->is_bool() && !additional->as_bool()))
      unsupported(where, "additionalProperties beside properties");
    for (const std::string& name : required) {
      if (!properties->contains(name))
        unsupported(where, "required " + name + " without a property");
    }
    // From the last property to the first: what may follow when none was written yet, and when
    // one was.
    std::string none, some;
    const Json::Object& members = properties->members();
    for (size_t i = members.size(); i-- > 0;) {
      const auto& [name, value] = members[i];
      const std::string member = add(literal(Json(name)) + " \":\" ws " +
                                     rule(value, where + ".properties." + name, depth + 1));
      const bool needed = required.count(name) > 0;
      std::string first = member + " " + some, later = "\",\" ws " + member + " " + some;
      if (!needed) {
        first += none.empty() ? " | \"\"" : " | " + none;
        later += some.empty() ? " | \"\"" : " | " + some;
      }
      none = add(first);
      some = add(later);
    }
    return add("\"{\" " + none + " \"}\"");
  }

  const Json* root_ = nullptr;
  std::map<std::string, std::string> references_;  ///< Pointer → rule
  std::string rules_;
  int count_ = 0;
};

}  // namespace

std::string json_schema_to_gbnf(const Json& schema) { return Writer().run(schema); }

std::shared_ptr<const Grammar> Grammar::from_json_schema(const Json& schema) {
  return from_gbnf(json_schema_to_gbnf(schema));
}

}  // namespace plait::runtime
