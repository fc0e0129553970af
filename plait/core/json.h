#pragma once
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace plait {

/// A JSON value: null, bool, integer, double, string, array or object (keys keep their order). A
/// plain value type; parsing and printing are done by nlohmann-json behind json.cpp. Not
/// thread-safe for writing.
class Json {
 public:
  using Array = std::vector<Json>;
  using Object = std::vector<std::pair<std::string, Json>>;

  Json() = default;
  Json(std::nullptr_t) {}
  Json(bool v) : value_(v) {}
  Json(int v) : value_(static_cast<int64_t>(v)) {}
  Json(int64_t v) : value_(v) {}
  Json(size_t v) : value_(static_cast<int64_t>(v)) {}
  Json(double v) : value_(v) {}
  Json(const char* v) : value_(std::string(v)) {}
  Json(std::string v) : value_(std::move(v)) {}
  Json(std::string_view v) : value_(std::string(v)) {}
  Json(Array v) : value_(std::move(v)) {}
  Json(Object v) : value_(std::move(v)) {}
  template <class T>
  Json(const std::vector<T>& v) : value_(Array(v.begin(), v.end())) {}

  static Json array(std::initializer_list<Json> items = {}) { return Json(Array(items)); }
  static Json object(std::initializer_list<std::pair<std::string, Json>> items = {});

  /// Parses UTF-8 text. @throws Error kCorruptData with `source` (a file name or "text") and the
  /// byte position; nesting deeper than 256 is refused.
  static Json parse(std::string_view text, std::string_view source = "text");
  /// Reads a file of at most `max_bytes`.
  static Json read(const std::string& path, size_t max_bytes = size_t{256} << 20);
  /// UTF-8 text; `indent` < 0 gives one line.
  std::string dump(int indent = -1) const;
  /// Writes to `path` by way of a temporary file that is renamed, so that a crash leaves the old
  /// file whole.
  void write(const std::string& path, int indent = 2) const;

  bool is_null() const { return std::holds_alternative<std::monostate>(value_); }
  bool is_bool() const { return std::holds_alternative<bool>(value_); }
  bool is_int() const { return std::holds_alternative<int64_t>(value_); }
  bool is_number() const { return is_int() || std::holds_alternative<double>(value_); }
  bool is_string() const { return std::holds_alternative<std::string>(value_); }
  bool is_array() const { return std::holds_alternative<Array>(value_); }
  bool is_object() const { return std::holds_alternative<Object>(value_); }

  /// Checked access. @throws Error kCorruptData "expected a string, got an array".
  bool as_bool() const;
  int64_t as_int() const;
  double as_double() const;
  const std::string& as_string() const;
  const Array& items() const;
  Array& items();
  const Object& members() const;
  Object& members();
  std::vector<int64_t> as_ints() const;
  std::vector<double> as_doubles() const;
  std::vector<std::string> as_strings() const;

  /// Number of items or members; 0 for anything else.
  size_t size() const;
  bool contains(std::string_view key) const { return find(key) != nullptr; }
  /// The member, or nullptr (also when this is not an object).
  const Json* find(std::string_view key) const;
  Json* find(std::string_view key);
  /// The member. @throws Error kCorruptData when it is missing.
  const Json& at(std::string_view key) const;
  const Json& at(size_t index) const;
  /// The member, made when missing; turns null into an object.
  Json& operator[](std::string_view key);
  void push_back(Json item);
  void erase(std::string_view key);

  /// Members with a fallback for missing or null ones.
  bool get(std::string_view key, bool fallback) const;
  int64_t get(std::string_view key, int64_t fallback) const;
  int64_t get(std::string_view key, int fallback) const {
    return get(key, static_cast<int64_t>(fallback));
  }
  double get(std::string_view key, double fallback) const;
  std::string get(std::string_view key, const char* fallback) const;
  std::string get(std::string_view key, const std::string& fallback) const;

  bool operator==(const Json& other) const { return value_ == other.value_; }

 private:
  std::variant<std::monostate, bool, int64_t, double, std::string, Array, Object> value_;
};

}  // namespace plait
