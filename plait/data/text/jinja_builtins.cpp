#include "plait/data/text/jinja_builtins.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "plait/core/error.h"
#include "plait/data/text/jinja_text.h"

namespace plait::data::jinja {
namespace {

Value pairs_of(const Dict& dict) {
  std::vector<Value> out;
  for (const auto& [key, value] : dict.items) out.push_back(Value::tuple({Value(key), value}));
  return Value::list(std::move(out));
}

bool dict_method(Dict& dict, const std::string& name, const Arguments& a, Value& out) {
  if (name == "items") {
    out = pairs_of(dict);
  } else if (name == "keys" || name == "values") {
    std::vector<Value> items;
    for (const auto& [key, value] : dict.items)
      items.push_back(name == "keys" ? Value(key) : value);
    out = Value::list(std::move(items));
  } else if (name == "get") {
    const Value* key = a.get(0, "key");
    const Value* fallback = a.get(1, "default");
    if (!key) fail_template("get: expected a key");
    Value* found = key->is_string() ? dict.find(key->text()) : nullptr;
    out = found ? *found : fallback ? *fallback : Value();
  } else {
    return false;
  }
  return true;
}

bool list_method(const List& list, const std::string& name, const Arguments& a, Value& out) {
  if (name != "index" && name != "count") return false;
  const Value* item = a.get(0, "value");
  if (!item) fail_template(name + ": expected an argument");
  int64_t count = 0;
  for (size_t i = 0; i < list.items.size(); ++i) {
    if (!equal(list.items[i], *item)) continue;
    if (name == "index") {
      out = static_cast<int64_t>(i);
      return true;
    }
    ++count;
  }
  if (name == "index") fail_template("index: the list does not hold the item");
  out = count;
  return true;
}

Value sorted(const Value& operand, const Arguments& a) {
  std::vector<Value> items = iterate(operand);
  const Value* by = a.get(2, "attribute");
  const Value* reverse = a.get(0, "reverse");
  const Value* exact = a.get(1, "case_sensitive");
  const bool descending = reverse && reverse->truthy();
  const auto key = [&](const Value& v) {
    Value k = by && !by->is_none() ? attribute(v, by->text()) : v;
    return k.is_string() && !(exact && exact->truthy()) ? Value(cased(k.text(), false)) : k;
  };
  std::stable_sort(items.begin(), items.end(), [&](const Value& x, const Value& y) {
    return descending ? less(key(y), key(x)) : less(key(x), key(y));
  });
  return Value::list(std::move(items));
}

Value joined(const Value& operand, const Arguments& a) {
  const Value* by = a.get(0, "d");
  const Value* name = a.get(1, "attribute");
  const std::string separator = by ? by->str() : "";
  std::string out;
  bool first = true;
  for (const Value& item : iterate(operand)) {
    if (!first) out += separator;
    first = false;
    out += (name ? attribute(item, name->text()) : item).str();
    if (out.size() > kMaxText) fail(ErrorCode::kResourceLimit, "template", "the text is too long");
  }
  return out;
}

Value selected(const std::string& filter, const Value& operand, const Arguments& a) {
  const bool by_attribute = filter.ends_with("attr"), keep = filter.starts_with("select");
  std::vector<Value> values = a.values;
  std::string name;
  if (by_attribute) {
    if (values.empty()) fail_template(filter + ": expected an attribute");
    name = values.front().text();
    values.erase(values.begin());
  }
  std::string test;
  if (!values.empty()) {
    test = values.front().text();
    values.erase(values.begin());
  }
  std::vector<Value> out;
  for (const Value& item : iterate(operand)) {
    const Value value = by_attribute ? attribute(item, name) : item;
    const bool holds = test.empty() ? value.truthy() : apply_test(test, value, {values, {}});
    if (holds == keep) out.push_back(item);
  }
  return Value::list(std::move(out));
}

Value mapped(const Value& operand, const Arguments& a) {
  std::vector<Value> out;
  const Value* name = a.get(SIZE_MAX, "attribute");
  const Value* fallback = a.get(SIZE_MAX, "default");
  for (const Value& item : iterate(operand)) {
    if (name) {
      Value found = item;
      const Value dot(".");
      for (const Value& part : split(name->text(), &dot, -1)) found = attribute(found, part.text());
      out.push_back(found.is_undefined() && fallback ? *fallback : found);
    } else {
      if (a.values.empty()) fail_template("map: expected a filter or an attribute");
      out.push_back(apply_filter(a.values[0].text(), item,
                                 {{a.values.begin() + 1, a.values.end()}, a.named}));
    }
  }
  return Value::list(std::move(out));
}

Value to_integer(const Value& operand, const Arguments& a) {
  const Value* fallback = a.get(0, "default");
  if (operand.is_integer()) return operand.integer();
  if (const double* d = operand.as<double>(); d && std::abs(*d) < 9e18)
    return static_cast<int64_t>(*d);
  if (operand.is_string()) {
    const std::string text = stripped(operand.text(), kBlanks, true, true);
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    if (!text.empty() && *end == '\0' && std::abs(value) < 9e15) return static_cast<int64_t>(value);
  }
  return fallback ? *fallback : Value(int64_t{0});
}

Value to_float(const Value& operand, const Arguments& a) {
  const Value* fallback = a.get(0, "default");
  if (operand.is_number()) return operand.number();
  if (operand.is_string()) {
    const std::string text = stripped(operand.text(), kBlanks, true, true);
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    if (!text.empty() && *end == '\0') return value;
  }
  return fallback ? *fallback : Value(0.0);
}

Value rounded(const Value& operand, const Arguments& a) {
  const Value* digits = a.get(0, "precision");
  const Value* method = a.get(1, "method");
  const double scale = std::pow(10.0, digits ? static_cast<double>(digits->integer()) : 0);
  const std::string how = method ? method->text() : "common";
  const double scaled = operand.number() * scale;
  // nearbyint rounds halves to even, as Python does.
  return (how == "ceil"    ? std::ceil(scaled)
          : how == "floor" ? std::floor(scaled)
                           : std::nearbyint(scaled)) /
         scale;
}

Value indented(const Value& operand, const Arguments& a) {
  const Value* width = a.get(0, "width");
  const Value* first = a.get(1, "first");
  const Value* blank = a.get(2, "blank");
  const int64_t count = width && width->is_integer() ? width->integer() : 4;
  if (count > 1000) fail_template("indent: expected a width of at most 1000");
  const std::string by = width && width->is_string()
                             ? width->text()
                             : std::string(static_cast<size_t>(std::max<int64_t>(count, 0)), ' ');
  std::string out;
  const std::string& text = operand.text();
  size_t at = 0;
  for (bool begin = true;; begin = false) {
    const size_t end = text.find('\n', at);
    const std::string line = text.substr(at, end == std::string::npos ? end : end - at);
    const bool indent =
        begin ? first && first->truthy() : !line.empty() || (blank && blank->truthy());
    out += (indent ? by : "") + line;
    if (end == std::string::npos) return out;
    out += '\n';
    at = end + 1;
    if (out.size() > kMaxText) fail(ErrorCode::kResourceLimit, "template", "the text is too long");
  }
}

Value escaped(const Value& operand) {
  std::string out;
  for (char c : operand.str()) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&#34;"; break;
      case '\'': out += "&#39;"; break;
      default: out += c;
    }
  }
  return out;
}

Value extreme(const Value& operand, bool largest) {
  std::vector<Value> items = iterate(operand);
  if (items.empty()) return Undefined{};
  size_t best = 0;
  for (size_t i = 1; i < items.size(); ++i) {
    if (largest ? less(items[best], items[i]) : less(items[i], items[best])) best = i;
  }
  return items[best];
}

Value as_json(const Value& operand, const Arguments& a) {
  const Value* indent = a.get(0, "indent");
  const Value* separators = a.get(1, "separators");
  const Value* sort = a.get(2, "sort_keys");
  const int64_t width = indent && !indent->is_none() ? indent->integer() : -1;
  std::string comma = width >= 0 ? "," : ", ", colon = ": ";
  if (separators && separators->list_of() && separators->list_of()->items.size() == 2) {
    comma = separators->list_of()->items[0].text();
    colon = separators->list_of()->items[1].text();
  }
  return operand.to_json(width, comma, colon, sort && sort->truthy());
}

int64_t length_of(const Value& operand) {
  if (operand.is_string()) return static_cast<int64_t>(characters(operand.text()).size());
  if (List* list = operand.list_of()) return static_cast<int64_t>(list->items.size());
  if (Dict* dict = operand.dict_of()) return static_cast<int64_t>(dict->items.size());
  if (operand.is_undefined()) return 0;
  fail_template("length: expected a string, list or mapping, got " + operand.type_name());
}

}  // namespace

Value attribute(const Value& object, const std::string& name) {
  if (object.is_undefined() || object.is_none()) {
    if (object.is_undefined())
      fail_template(object.type_name() + " has no attribute " + name.substr(0, 80));
    return Undefined{name};
  }
  Dict* dict = object.dict_of();
  Value* found = dict ? dict->find(name) : nullptr;
  return found ? *found : Value(Undefined{name});
}

bool call_method(const Value& object, const std::string& name, const Arguments& arguments,
                 Value& out) {
  if (object.is_string()) return text_method(object.text(), name, arguments, out);
  if (Dict* dict = object.dict_of())
    return !dict->is_namespace && dict_method(*dict, name, arguments, out);
  if (List* list = object.list_of()) return list_method(*list, name, arguments, out);
  return false;
}

Value apply_filter(const std::string& name, const Value& operand, const Arguments& a) {
  if (name == "trim") {
    const Value* what = a.get(0, "chars");
    return stripped(operand.str(), what && !what->is_none() ? what->text() : std::string(kBlanks),
                    true, true);
  }
  if (name == "tojson") return as_json(operand, a);
  if (name == "length" || name == "count") return length_of(operand);
  if (name == "upper" || name == "lower") return cased(operand.str(), name == "upper");
  if (name == "capitalize") return capitalized(operand.str());
  if (name == "title") return titled(operand.str());
  if (name == "string") return operand.str();
  if (name == "safe") return operand;
  if (name == "escape" || name == "e") return escaped(operand);
  if (name == "replace") {
    const Value *from = a.get(0, "old"), *to = a.get(1, "new"), *most = a.get(2, "count");
    if (!from || !to) fail_template("replace: expected two texts");
    return replaced(operand.str(), from->str(), to->str(),
                    most && !most->is_none() ? most->integer() : -1);
  }
  if (name == "default" || name == "d") {
    const Value *fallback = a.get(0, "default_value"), *falsy = a.get(1, "boolean");
    const bool use = operand.is_undefined() || (falsy && falsy->truthy() && !operand.truthy());
    return !use ? operand : fallback ? *fallback : Value("");
  }
  if (name == "join") return joined(operand, a);
  if (name == "list") return Value::list(iterate(operand));
  if (name == "first" || name == "last") {
    std::vector<Value> items = iterate(operand);
    if (items.empty()) return Undefined{name};
    return name == "first" ? items.front() : items.back();
  }
  if (name == "int") return to_integer(operand, a);
  if (name == "float") return to_float(operand, a);
  if (name == "abs")
    return operand.is_integer() ? arithmetic("*", operand, int64_t{operand.integer() < 0 ? -1 : 1})
                                : Value(std::abs(operand.number()));
  if (name == "round") return rounded(operand, a);
  if (name == "indent") return indented(operand, a);
  if (name == "items") {
    if (operand.is_undefined()) return Value::list({});
    if (!operand.dict_of()) fail_template("items: expected a mapping");
    return pairs_of(*operand.dict_of());
  }
  if (name == "dictsort") {
    if (!operand.dict_of()) fail_template("dictsort: expected a mapping");
    auto items = operand.dict_of()->items;
    std::stable_sort(items.begin(), items.end(), [](const auto& x, const auto& y) {
      return cased(x.first, false) < cased(y.first, false);
    });
    return pairs_of(Dict{std::move(items), false});
  }
  if (name == "sort") return sorted(operand, a);
  if (name == "reverse") {
    std::vector<Value> items = iterate(operand);
    std::reverse(items.begin(), items.end());
    if (!operand.is_string()) return Value::list(std::move(items));
    return joined(Value::list(std::move(items)), {});
  }
  if (name == "unique") {
    std::vector<Value> out;
    for (const Value& item : iterate(operand)) {
      if (std::none_of(out.begin(), out.end(), [&](const Value& v) { return equal(v, item); }))
        out.push_back(item);
    }
    return Value::list(std::move(out));
  }
  if (name == "min" || name == "max") return extreme(operand, name == "max");
  if (name == "sum") {
    Value sum(int64_t{0});
    for (const Value& item : iterate(operand)) sum = arithmetic("+", sum, item);
    return sum;
  }
  if (name == "map") return mapped(operand, a);
  if (name == "select" || name == "reject" || name == "selectattr" || name == "rejectattr")
    return selected(name, operand, a);
  fail_template("expected a filter that Plait has, got " + name.substr(0, 40));
}

bool apply_test(const std::string& name, const Value& v, const Arguments& a) {
  const auto other = [&]() -> const Value& {
    if (a.values.empty()) fail_template(name + ": expected an argument");
    return a.values[0];
  };
  if (name == "defined") return !v.is_undefined();
  if (name == "undefined") return v.is_undefined();
  if (name == "none") return v.is_none();
  if (name == "string") return v.is_string();
  if (name == "number") return v.is_number();
  if (name == "integer") return v.as<int64_t>() != nullptr;
  if (name == "float") return v.as<double>() != nullptr;
  if (name == "boolean") return v.as<bool>() != nullptr;
  if (name == "true" || name == "false") return v.as<bool>() && *v.as<bool>() == (name == "true");
  if (name == "mapping") return v.dict_of() != nullptr;
  if (name == "sequence" || name == "iterable")
    return v.is_string() || v.list_of() || v.dict_of() || v.is_undefined();
  if (name == "callable") return v.callable_of() != nullptr;
  if (name == "even" || name == "odd") return (v.integer() % 2 != 0) == (name == "odd");
  if (name == "divisibleby") {
    if (other().integer() == 0) fail_template("division by zero");
    return other().integer() == -1 || v.integer() % other().integer() == 0;
  }
  if (name == "lower" || name == "upper") {
    const std::string text = v.str();
    return cased(text, name == "upper") == text && cased(text, name == "lower") != text;
  }
  if (name == "in") return contains(other(), v);
  if (name == "equalto" || name == "eq" || name == "sameas") return equal(v, other());
  if (name == "ne") return !equal(v, other());
  if (name == "lt" || name == "lessthan") return less(v, other());
  if (name == "gt" || name == "greaterthan") return less(other(), v);
  if (name == "le") return !less(other(), v);
  if (name == "ge") return !less(v, other());
  fail_template("expected a test that Plait has, got " + name.substr(0, 40));
}

}  // namespace plait::data::jinja
