#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "plait/core/json.h"

/// Values of the template language (see chat_template.h), with Python's ways of printing, comparing
/// and counting. Lists and dicts are shared, as in Python.
namespace plait::data::jinja {

class Value;
struct Arguments;

struct List {
  std::vector<Value> items;
  bool is_tuple = false;
};
struct Dict {
  std::vector<std::pair<std::string, Value>> items;
  bool is_namespace = false;
  Value* find(const std::string& key);
};
struct Callable {
  std::string name;
  std::function<Value(const Arguments&)> call;
};
struct Undefined {
  std::string name;
};

class Value {
 public:
  Value() : data_(nullptr) {}
  Value(bool v) : data_(v) {}
  Value(int64_t v) : data_(v) {}
  Value(double v) : data_(v) {}
  Value(std::string v) : data_(std::move(v)) {}
  Value(const char* v) : data_(std::string(v)) {}
  Value(Undefined v) : data_(std::move(v)) {}
  Value(std::shared_ptr<List> v) : data_(std::move(v)) {}
  Value(std::shared_ptr<Dict> v) : data_(std::move(v)) {}
  Value(std::shared_ptr<Callable> v) : data_(std::move(v)) {}
  static Value list(std::vector<Value> items);
  static Value tuple(std::vector<Value> items);
  static Value dict(std::vector<std::pair<std::string, Value>> items);
  static Value from_json(const Json& json);

  template <class T>
  const T* as() const {
    return std::get_if<T>(&data_);
  }
  List* list_of() const { return shared<List>(); }
  Dict* dict_of() const { return shared<Dict>(); }
  Callable* callable_of() const { return shared<Callable>(); }
  bool is_none() const { return as<std::nullptr_t>() != nullptr; }
  bool is_undefined() const { return as<Undefined>() != nullptr; }
  bool is_string() const { return as<std::string>() != nullptr; }
  /// bool, int or float.
  bool is_number() const;
  bool is_integer() const { return as<int64_t>() != nullptr || as<bool>() != nullptr; }
  int64_t integer() const;  ///< Of bool and int; throws for others.
  double number() const;
  const std::string& text() const;  ///< Throws unless it is a string.

  bool truthy() const;
  std::string str() const;   ///< As Python's str(); undefined is empty.
  std::string repr() const;  ///< As Python's repr().
  std::string type_name() const;
  /// json.dumps(ensure_ascii=False). `indent` < 0: one line.
  std::string to_json(int64_t indent, const std::string& comma, const std::string& colon,
                      bool sort_keys) const;

 private:
  template <class T>
  T* shared() const {
    auto* held = std::get_if<std::shared_ptr<T>>(&data_);
    return held ? held->get() : nullptr;
  }
  std::variant<std::nullptr_t, bool, int64_t, double, std::string, Undefined, std::shared_ptr<List>,
               std::shared_ptr<Dict>, std::shared_ptr<Callable>>
      data_;
};

struct Arguments {
  std::vector<Value> values;
  std::vector<std::pair<std::string, Value>> named;
  /// The argument at that place or of that name; nullptr when it is not given.
  const Value* get(size_t place, const char* name) const;
};

/// Throws kInvalidArgument "[template] message".
[[noreturn]] void fail_template(const std::string& message);
bool equal(const Value& a, const Value& b);
/// a < b. Throws for values without an order.
bool less(const Value& a, const Value& b);
bool contains(const Value& container, const Value& item);
/// The items of a list, the keys of a dict, the characters of a string; none of undefined.
std::vector<Value> iterate(const Value& value);
/// "+", "-", "*", "/", "//", "%", "**", "~".
Value arithmetic(const std::string& op, const Value& a, const Value& b);
/// The characters of UTF-8 text.
std::vector<std::string> characters(const std::string& text);
std::string float_text(double value);

}  // namespace plait::data::jinja
