#include "plait/core/json.h"

#include <nlohmann/json.hpp>

#include <limits>

#include "plait/core/error.h"
#include "plait/core/file.h"

namespace plait {
namespace {

constexpr size_t kMaxDepth = 256;

const char* type_name(const Json& v) {
  if (v.is_null()) return "null";
  if (v.is_bool()) return "a boolean";
  if (v.is_int()) return "an integer";
  if (v.is_number()) return "a number";
  if (v.is_string()) return "a string";
  return v.is_array() ? "an array" : "an object";
}

[[noreturn]] void wrong_type(const char* expected, const Json& got) {
  fail(ErrorCode::kCorruptData, "json",
       std::string("expected ") + expected + ", got " + type_name(got));
}

/// Builds our tree from nlohmann's events, so that large files are held only once.
class TreeBuilder : public nlohmann::json_sax<nlohmann::json> {
 public:
  TreeBuilder(Json& root, std::string_view source) : root_(root), source_(source) {}

  bool null() override { return put(Json()); }
  bool boolean(bool v) override { return put(v); }
  bool number_integer(int64_t v) override { return put(v); }
  bool number_unsigned(uint64_t v) override {
    if (v > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
      return put(static_cast<double>(v));
    return put(static_cast<int64_t>(v));
  }
  bool number_float(double v, const std::string&) override { return put(v); }
  bool string(std::string& v) override { return put(std::move(v)); }
  bool binary(nlohmann::json::binary_t&) override { return false; }
  bool start_object(size_t) override { return open(Json(Json::Object{})); }
  bool key(std::string& k) override {
    key_ = std::move(k);
    return true;
  }
  bool end_object() override { return close(); }
  bool start_array(size_t) override { return open(Json(Json::Array{})); }
  bool end_array() override { return close(); }
  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception&) override {
    fail(ErrorCode::kCorruptData, "json",
         "expected valid JSON in " + source_ + ", got a syntax error at byte " +
             std::to_string(position));
  }

 private:
  bool put(Json v) {
    slot() = std::move(v);
    return true;
  }
  bool open(Json container) {
    if (stack_.size() >= kMaxDepth) {
      fail(ErrorCode::kCorruptData, "json", "expected nesting of at most 256 levels in " + source_);
    }
    Json& place = slot();
    place = std::move(container);
    stack_.push_back(&place);
    return true;
  }
  bool close() {
    stack_.pop_back();
    return true;
  }
  Json& slot() {
    if (stack_.empty()) return root_;
    Json& top = *stack_.back();
    if (top.is_array()) {
      top.items().emplace_back();
      return top.items().back();
    }
    top.members().emplace_back(std::move(key_), Json());
    return top.members().back().second;
  }

  Json& root_;
  std::string source_;
  std::string key_;
  std::vector<Json*>
      stack_;  // a container is closed before its parent grows, so the pointers stay valid
};

nlohmann::ordered_json to_nlohmann(const Json& v) {
  if (v.is_null()) return nullptr;
  if (v.is_bool()) return v.as_bool();
  if (v.is_int()) return v.as_int();
  if (v.is_number()) return v.as_double();
  if (v.is_string()) return v.as_string();
  if (v.is_array()) {
    auto out = nlohmann::ordered_json::array();
    for (const Json& item : v.items()) out.push_back(to_nlohmann(item));
    return out;
  }
  auto out = nlohmann::ordered_json::object();
  auto& members = out.get_ref<nlohmann::ordered_json::object_t&>();
  for (const auto& [key, item] : v.members()) members.emplace_back(key, to_nlohmann(item));
  return out;
}

}  // namespace

Json Json::object(std::initializer_list<std::pair<std::string, Json>> items) {
  return Json(Object(items));
}

Json Json::parse(std::string_view text, std::string_view source) {
  Json root;
  TreeBuilder builder(root, source);
  nlohmann::json::sax_parse(text.begin(), text.end(), &builder);
  return root;
}

Json Json::read(const std::string& path, size_t max_bytes) {
  return parse(read_file(path, max_bytes), path);
}

std::string Json::dump(int indent) const {
  return to_nlohmann(*this).dump(indent, ' ', false,
                                 nlohmann::ordered_json::error_handler_t::replace);
}

void Json::write(const std::string& path, int indent) const {
  write_file_atomic(path, dump(indent) + "\n");
}

bool Json::as_bool() const {
  if (!is_bool()) wrong_type("a boolean", *this);
  return std::get<bool>(value_);
}

int64_t Json::as_int() const {
  if (is_int()) return std::get<int64_t>(value_);
  if (const double* d = std::get_if<double>(&value_);
      d && std::abs(*d) < 9e15 && *d == std::floor(*d)) {
    return static_cast<int64_t>(*d);
  }
  wrong_type("an integer", *this);
}

double Json::as_double() const {
  if (is_int()) return static_cast<double>(std::get<int64_t>(value_));
  if (!is_number()) wrong_type("a number", *this);
  return std::get<double>(value_);
}

const std::string& Json::as_string() const {
  if (!is_string()) wrong_type("a string", *this);
  return std::get<std::string>(value_);
}

const Json::Array& Json::items() const {
  if (!is_array()) wrong_type("an array", *this);
  return std::get<Array>(value_);
}
Json::Array& Json::items() {
  if (!is_array()) wrong_type("an array", *this);
  return std::get<Array>(value_);
}
const Json::Object& Json::members() const {
  if (!is_object()) wrong_type("an object", *this);
  return std::get<Object>(value_);
}
Json::Object& Json::members() {
  if (!is_object()) wrong_type("an object", *this);
  return std::get<Object>(value_);
}

std::vector<int64_t> Json::as_ints() const {
  std::vector<int64_t> out;
  for (const Json& item : items()) out.push_back(item.as_int());
  return out;
}
std::vector<double> Json::as_doubles() const {
  std::vector<double> out;
  for (const Json& item : items()) out.push_back(item.as_double());
  return out;
}
std::vector<std::string> Json::as_strings() const {
  std::vector<std::string> out;
  for (const Json& item : items()) out.push_back(item.as_string());
  return out;
}

size_t Json::size() const {
  if (is_array()) return items().size();
  return is_object() ? members().size() : 0;
}

const Json* Json::find(std::string_view key) const {
  const Object* object = std::get_if<Object>(&value_);
  if (!object) return nullptr;
  for (const auto& [name, item] : *object) {
    if (name == key) return &item;
  }
  return nullptr;
}
Json* Json::find(std::string_view key) { return const_cast<Json*>(std::as_const(*this).find(key)); }

const Json& Json::at(std::string_view key) const {
  const Json* found = find(key);
  if (!found)
    fail(ErrorCode::kCorruptData, "json",
         "expected a member \"" + std::string(key) + "\", got none");
  return *found;
}

const Json& Json::at(size_t index) const {
  if (index >= items().size()) {
    fail(ErrorCode::kCorruptData, "json",
         "expected an item " + std::to_string(index) + ", got an array of " +
             std::to_string(items().size()));
  }
  return items()[index];
}

Json& Json::operator[](std::string_view key) {
  if (is_null()) value_ = Object{};
  if (Json* found = find(key)) return *found;
  members().emplace_back(std::string(key), Json());
  return members().back().second;
}

void Json::push_back(Json item) {
  if (is_null()) value_ = Array{};
  items().push_back(std::move(item));
}

void Json::erase(std::string_view key) {
  std::erase_if(members(), [&](const auto& member) { return member.first == key; });
}

bool Json::get(std::string_view key, bool fallback) const {
  const Json* v = find(key);
  return v && !v->is_null() ? v->as_bool() : fallback;
}
int64_t Json::get(std::string_view key, int64_t fallback) const {
  const Json* v = find(key);
  return v && !v->is_null() ? v->as_int() : fallback;
}
double Json::get(std::string_view key, double fallback) const {
  const Json* v = find(key);
  return v && !v->is_null() ? v->as_double() : fallback;
}
std::string Json::get(std::string_view key, const char* fallback) const {
  const Json* v = find(key);
  return v && !v->is_null() ? v->as_string() : std::string(fallback);
}
std::string Json::get(std::string_view key, const std::string& fallback) const {
  return get(key, fallback.c_str());
}

}  // namespace plait
