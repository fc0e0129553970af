#include "plait/data/text/jinja_value.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "plait/core/error.h"

namespace plait::data::jinja {
namespace {

constexpr size_t kMaxText = size_t{16} << 20;
constexpr int kMaxDepth = 100;

/// Lists can hold themselves only by way of a namespace; deep ones come from hostile input.
void check_depth(int depth) {
  if (depth > kMaxDepth) fail_template("expected values nested at most 100 deep");
}

void append_repr(const Value& value, std::string& out, int depth);

void append_repr_text(const std::string& text, std::string& out) {
  const bool doubled = text.find('\'') != std::string::npos && text.find('"') == std::string::npos;
  const char quote = doubled ? '"' : '\'';
  out += quote;
  for (char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == quote || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7F) {
      constexpr char kHex[] = "0123456789abcdef";
      out += "\\x";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  out += quote;
}

void append_repr(const Value& value, std::string& out, int depth) {
  check_depth(depth);
  if (value.is_string()) {
    append_repr_text(value.text(), out);
  } else if (List* list = value.list_of()) {
    out += list->is_tuple ? '(' : '[';
    for (size_t i = 0; i < list->items.size(); ++i) {
      if (i > 0) out += ", ";
      append_repr(list->items[i], out, depth + 1);
    }
    out += !list->is_tuple ? "]" : list->items.size() == 1 ? ",)" : ")";
  } else if (Dict* dict = value.dict_of()) {
    out += '{';
    for (size_t i = 0; i < dict->items.size(); ++i) {
      if (i > 0) out += ", ";
      append_repr_text(dict->items[i].first, out);
      out += ": ";
      append_repr(dict->items[i].second, out, depth + 1);
    }
    out += '}';
  } else if (value.is_undefined()) {
    out += "Undefined";
  } else {
    out += value.str();
  }
  if (out.size() > kMaxText) fail(ErrorCode::kResourceLimit, "template", "the text is too long");
}

void append_json_text(const std::string& text, std::string& out) {
  out += '"';
  for (char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      case '\b': out += "\\b"; break;
      case '\f': out += "\\f"; break;
      default:
        if (byte < 0x20) {
          constexpr char kHex[] = "0123456789abcdef";
          out += "\\u00";
          out += kHex[byte >> 4];
          out += kHex[byte & 15];
        } else {
          out += c;
        }
    }
  }
  out += '"';
}

struct JsonStyle {
  int64_t indent;
  const std::string& comma;
  const std::string& colon;
  bool sort_keys;
};

void append_json(const Value& value, const JsonStyle& style, int depth, std::string& out) {
  check_depth(depth);
  const auto line = [&](int level) {
    if (style.indent >= 0)
      out += "\n" + std::string(static_cast<size_t>(style.indent * level), ' ');
  };
  if (value.is_string()) {
    append_json_text(value.text(), out);
  } else if (value.is_none()) {
    out += "null";
  } else if (const bool* b = value.as<bool>()) {
    out += *b ? "true" : "false";
  } else if (value.is_number()) {
    out += value.str();
  } else if (List* list = value.list_of()) {
    out += '[';
    for (size_t i = 0; i < list->items.size(); ++i) {
      if (i > 0) out += style.comma;
      line(depth + 1);
      append_json(list->items[i], style, depth + 1, out);
    }
    if (!list->items.empty()) line(depth);
    out += ']';
  } else if (Dict* dict = value.dict_of()) {
    auto items = dict->items;
    if (style.sort_keys) {
      std::stable_sort(items.begin(), items.end(),
                       [](const auto& a, const auto& b) { return a.first < b.first; });
    }
    out += '{';
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out += style.comma;
      line(depth + 1);
      append_json_text(items[i].first, out);
      out += style.colon;
      append_json(items[i].second, style, depth + 1, out);
    }
    if (!items.empty()) line(depth);
    out += '}';
  } else {
    fail_template("tojson: expected a value of JSON, got " + value.type_name());
  }
  if (out.size() > kMaxText) fail(ErrorCode::kResourceLimit, "template", "the text is too long");
}

[[noreturn]] void wrong_operands(const std::string& op, const Value& a, const Value& b) {
  fail_template("expected operands for " + op + ", got " + a.type_name() + " and " + b.type_name());
}

Value repeated(const Value& what, int64_t times) {
  times = std::max<int64_t>(times, 0);
  if (what.is_string()) {
    const std::string& text = what.text();
    if (static_cast<double>(text.size()) * static_cast<double>(times) > kMaxText)
      fail(ErrorCode::kResourceLimit, "template", "the text is too long");
    std::string out;
    for (int64_t i = 0; i < times; ++i) out += text;
    return out;
  }
  const auto& items = what.list_of()->items;
  if (static_cast<double>(items.size()) * static_cast<double>(times) > 1e5)
    fail(ErrorCode::kResourceLimit, "template", "the list is too long");
  std::vector<Value> out;
  for (int64_t i = 0; i < times; ++i) out.insert(out.end(), items.begin(), items.end());
  return Value::list(std::move(out));
}

Value integer_arithmetic(const std::string& op, int64_t a, int64_t b) {
  int64_t out = 0;
  bool overflow = false;
  if (op == "+") overflow = __builtin_add_overflow(a, b, &out);
  if (op == "-") overflow = __builtin_sub_overflow(a, b, &out);
  if (op == "*") overflow = __builtin_mul_overflow(a, b, &out);
  if (op == "//" || op == "%") {
    if (b == 0) fail_template("division by zero");
    if (b == -1) {
      overflow = op == "//" && __builtin_sub_overflow(int64_t{0}, a, &out);
      if (op == "%") out = 0;
    } else {
      int64_t quotient = a / b, rest = a % b;
      if (rest != 0 && (rest < 0) != (b < 0)) {
        --quotient;
        rest += b;
      }
      out = op == "//" ? quotient : rest;
    }
  }
  if (op == "**") {
    out = 1;
    for (int64_t i = 0; i < b && !overflow; ++i) {
      overflow = __builtin_mul_overflow(out, a, &out);
      if (out == 0 || (out == 1 && a == 1)) break;
      if (a == -1) return int64_t{b % 2 == 0 ? 1 : -1};
    }
  }
  if (overflow) fail_template("expected numbers of at most 64 bits");
  return out;
}

}  // namespace

void fail_template(const std::string& message) {
  fail(ErrorCode::kInvalidArgument, "template", message.substr(0, 2000));
}

Value* Dict::find(const std::string& key) {
  for (auto& [name, value] : items) {
    if (name == key) return &value;
  }
  return nullptr;
}

Value Value::list(std::vector<Value> items) {
  return std::make_shared<List>(List{std::move(items), false});
}

Value Value::tuple(std::vector<Value> items) {
  return std::make_shared<List>(List{std::move(items), true});
}

Value Value::dict(std::vector<std::pair<std::string, Value>> items) {
  return std::make_shared<Dict>(Dict{std::move(items), false});
}

Value Value::from_json(const Json& json) {
  if (json.is_null()) return {};
  if (json.is_bool()) return json.as_bool();
  if (json.is_int()) return json.as_int();
  if (json.is_number()) return json.as_double();
  if (json.is_string()) return json.as_string();
  if (json.is_array()) {
    std::vector<Value> items;
    for (const Json& item : json.items()) items.push_back(from_json(item));
    return list(std::move(items));
  }
  std::vector<std::pair<std::string, Value>> items;
  for (const auto& [key, item] : json.members()) items.emplace_back(key, from_json(item));
  return dict(std::move(items));
}

bool Value::is_number() const { return is_integer() || as<double>() != nullptr; }

int64_t Value::integer() const {
  if (const bool* b = as<bool>()) return *b ? 1 : 0;
  if (const int64_t* i = as<int64_t>()) return *i;
  fail_template("expected an integer, got " + type_name());
}

double Value::number() const {
  if (const double* d = as<double>()) return *d;
  return static_cast<double>(integer());
}

const std::string& Value::text() const {
  if (const std::string* s = as<std::string>()) return *s;
  fail_template("expected a string, got " + type_name());
}

bool Value::truthy() const {
  if (is_none() || is_undefined()) return false;
  if (const std::string* s = as<std::string>()) return !s->empty();
  if (is_number()) return number() != 0;
  if (List* l = list_of()) return !l->items.empty();
  if (Dict* d = dict_of()) return d->is_namespace || !d->items.empty();
  return true;
}

std::string float_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[64];
  const double magnitude = std::abs(value);
  // Python writes exponents below 1e-4 and from 1e16 on.
  const bool plain = magnitude == 0 || (magnitude >= 1e-4 && magnitude < 1e16);
  auto end = std::to_chars(buffer, buffer + sizeof buffer, value,
                           plain ? std::chars_format::fixed : std::chars_format::scientific);
  std::string out(buffer, end.ptr);
  return plain && out.find('.') == std::string::npos ? out + ".0" : out;
}

std::string Value::str() const {
  if (const std::string* s = as<std::string>()) return *s;
  if (is_none()) return "None";
  if (is_undefined()) return "";
  if (const bool* b = as<bool>()) return *b ? "True" : "False";
  if (const int64_t* i = as<int64_t>()) return std::to_string(*i);
  if (const double* d = as<double>()) return float_text(*d);
  if (Callable* c = callable_of()) return "<" + c->name + ">";
  return repr();
}

std::string Value::repr() const {
  std::string out;
  append_repr(*this, out, 0);
  return out;
}

std::string Value::type_name() const {
  if (is_none()) return "none";
  if (const Undefined* u = as<Undefined>())
    return u->name.empty() ? "undefined" : "undefined \"" + u->name.substr(0, 80) + "\"";
  if (as<bool>()) return "a boolean";
  if (as<int64_t>()) return "an integer";
  if (as<double>()) return "a float";
  if (is_string()) return "a string";
  if (list_of()) return "a list";
  return dict_of() ? "a mapping" : "a function";
}

std::string Value::to_json(int64_t indent, const std::string& comma, const std::string& colon,
                           bool sort_keys) const {
  std::string out;
  if (indent > 64) fail_template("tojson: expected an indent of at most 64");
  append_json(*this, {indent, comma, colon, sort_keys}, 0, out);
  return out;
}

const Value* Arguments::get(size_t place, const char* name) const {
  if (place < values.size()) return &values[place];
  for (const auto& [given, value] : named) {
    if (given == name) return &value;
  }
  return nullptr;
}

bool equal(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    if (a.is_integer() && b.is_integer()) return a.integer() == b.integer();
    return a.number() == b.number();
  }
  if (a.is_string() && b.is_string()) return a.text() == b.text();
  if (a.is_none() || b.is_none()) return a.is_none() && b.is_none();
  if (a.is_undefined() || b.is_undefined()) return a.is_undefined() && b.is_undefined();
  if (List* x = a.list_of(), *y = b.list_of(); x && y)
    return x == y ||
           (x->is_tuple == y->is_tuple &&
            std::equal(x->items.begin(), x->items.end(), y->items.begin(), y->items.end(), equal));
  if (Dict* x = a.dict_of(), *y = b.dict_of(); x && y) {
    if (x == y) return true;
    return x->items.size() == y->items.size() &&
           std::all_of(x->items.begin(), x->items.end(), [&](const auto& item) {
             Value* other = y->find(item.first);
             return other && equal(item.second, *other);
           });
  }
  return a.callable_of() && a.callable_of() == b.callable_of();
}

bool less(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    if (a.is_integer() && b.is_integer()) return a.integer() < b.integer();
    return a.number() < b.number();
  }
  if (a.is_string() && b.is_string()) return a.text() < b.text();
  if (List* x = a.list_of(), *y = b.list_of(); x && y)
    return std::lexicographical_compare(x->items.begin(), x->items.end(), y->items.begin(),
                                        y->items.end(), less);
  fail_template("expected values with an order, got " + a.type_name() + " and " + b.type_name());
}

bool contains(const Value& container, const Value& item) {
  if (container.is_string()) return container.text().find(item.text()) != std::string::npos;
  if (List* list = container.list_of()) {
    return std::any_of(list->items.begin(), list->items.end(),
                       [&](const Value& v) { return equal(v, item); });
  }
  if (Dict* dict = container.dict_of()) return item.is_string() && dict->find(item.text());
  if (container.is_undefined()) return false;
  fail_template("expected a list, a mapping or a string after in, got " + container.type_name());
}

std::vector<Value> iterate(const Value& value) {
  std::vector<Value> out;
  if (List* list = value.list_of()) return list->items;
  if (Dict* dict = value.dict_of()) {
    for (const auto& [key, item] : dict->items) out.emplace_back(key);
  } else if (value.is_string()) {
    for (std::string& c : characters(value.text())) out.emplace_back(std::move(c));
  } else if (!value.is_undefined()) {
    fail_template("expected something to go through, got " + value.type_name());
  }
  return out;
}

Value arithmetic(const std::string& op, const Value& a, const Value& b) {
  if (op == "~") return a.str() + b.str();
  if (a.is_number() && b.is_number()) {
    const bool whole = a.is_integer() && b.is_integer();
    if (whole && op != "/" && !(op == "**" && b.integer() < 0))
      return integer_arithmetic(op, a.integer(), b.integer());
    const double x = a.number(), y = b.number();
    if (op == "+") return x + y;
    if (op == "-") return x - y;
    if (op == "*") return x * y;
    if (op == "**") return std::pow(x, y);
    if (y == 0) fail_template("division by zero");
    if (op == "/") return x / y;
    if (op == "//") return std::floor(x / y);
    const double rest = std::fmod(x, y);
    return rest != 0 && (rest < 0) != (y < 0) ? rest + y : rest;
  }
  if (op == "+" && a.is_string() && b.is_string()) {
    if (a.text().size() + b.text().size() > kMaxText)
      fail(ErrorCode::kResourceLimit, "template", "the text is too long");
    return a.text() + b.text();
  }
  if (op == "+" && a.list_of() && b.list_of()) {
    std::vector<Value> items = a.list_of()->items;
    const auto& more = b.list_of()->items;
    if (items.size() + more.size() > 100000)
      fail(ErrorCode::kResourceLimit, "template", "the list is too long");
    items.insert(items.end(), more.begin(), more.end());
    return Value::list(std::move(items));
  }
  if (op == "*" && (a.is_string() || a.list_of()) && b.is_integer())
    return repeated(a, b.integer());
  if (op == "*" && (b.is_string() || b.list_of()) && a.is_integer())
    return repeated(b, a.integer());
  wrong_operands(op, a, b);
}

std::vector<std::string> characters(const std::string& text) {
  std::vector<std::string> out;
  for (size_t at = 0; at < text.size();) {
    size_t end = at + 1;
    while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) ++end;
    out.push_back(text.substr(at, end - at));
    at = end;
  }
  return out;
}

}  // namespace plait::data::jinja
