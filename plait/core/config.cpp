#include "plait/core/config.h"

#include <cmath>
#include <set>
#include <sstream>

#include "plait/core/error.h"
#include "plait/core/log.h"

namespace plait::detail {
namespace {

std::string number(double v) {
  std::ostringstream out;
  out << v;
  return out.str();
}

class Reader : public ConfigVisitor {
 public:
  Reader(const Json& json, std::string where) : json_(json), where_(std::move(where)) {}

  void field(const char* name, bool& value, const char*, const Limits&) override {
    if (const Json* v = member(name))
      value = convert(name, "a boolean", [&] { return v->as_bool(); });
  }
  void field(const char* name, int64_t& value, const char*, const Limits& limits) override {
    if (const Json* v = member(name)) {
      value = convert(name, "an integer", [&] { return v->as_int(); });
      check(name, static_cast<double>(value), limits);
    }
  }
  void field(const char* name, double& value, const char*, const Limits& limits) override {
    if (const Json* v = member(name)) {
      value = convert(name, "a number", [&] { return v->as_double(); });
      check(name, value, limits);
    }
  }
  void field(const char* name, std::string& value, const char*, const Limits& limits) override {
    if (const Json* v = member(name)) {
      value = convert(name, "a string", [&] { return v->as_string(); });
      check_one_of(name, value, limits);
    }
  }
  void field(const char* name, std::vector<int64_t>& value, const char*,
             const Limits& limits) override {
    if (const Json* v = member(name)) {
      value = convert(name, "an array of integers", [&] { return v->as_ints(); });
      for (int64_t item : value) check(name, static_cast<double>(item), limits);
    }
  }
  void field(const char* name, std::vector<double>& value, const char*,
             const Limits& limits) override {
    if (const Json* v = member(name)) {
      value = convert(name, "an array of numbers", [&] { return v->as_doubles(); });
      for (double item : value) check(name, item, limits);
    }
  }
  void field(const char* name, std::vector<std::string>& value, const char*,
             const Limits& limits) override {
    if (const Json* v = member(name)) {
      value = convert(name, "an array of strings", [&] { return v->as_strings(); });
      for (const std::string& item : value) check_one_of(name, item, limits);
    }
  }
  void field(const char* name, Json& value, const char*, const Limits&) override {
    if (const Json* v = member(name)) value = *v;
  }

  void finish(UnknownKeys unknown) const {
    for (const auto& [key, value] : json_.members()) {
      if (known_.count(key)) continue;
      if (unknown == UnknownKeys::kError) {
        std::string names;
        for (const std::string& name : known_) names += (names.empty() ? "" : ", ") + name;
        fail(ErrorCode::kInvalidArgument, "config",
             where_ + ": expected one of: " + names + "; got the key \"" + key + "\"");
      }
      log_debug("config", where_ + ": the key \"" + key + "\" has no effect here");
    }
  }

 private:
  const Json* member(const char* name) {
    known_.insert(name);
    const Json* v = json_.find(name);
    return v && !v->is_null() ? v : nullptr;
  }

  template <class F>
  auto convert(const char* name, const char* expected, F get) const -> decltype(get()) {
    try {
      return get();
    } catch (const Error&) {
      fail(ErrorCode::kInvalidArgument, "config",
           where_ + "." + name + ": expected " + expected + ", got " +
               json_.at(name).dump().substr(0, 80));
    }
  }

  void check(const char* name, double value, const Limits& limits) const {
    if (std::isfinite(value) && value >= limits.min && value <= limits.max) return;
    fail(ErrorCode::kInvalidArgument, "config",
         where_ + "." + name + ": expected a value from " + number(limits.min) + " to " +
             number(limits.max) + ", got " + number(value));
  }

  void check_one_of(const char* name, const std::string& value, const Limits& limits) const {
    if (limits.one_of.empty()) return;
    std::string names;
    for (const std::string& valid : limits.one_of) {
      if (valid == value) return;
      names += (names.empty() ? "" : ", ") + valid;
    }
    fail(ErrorCode::kInvalidArgument, "config",
         where_ + "." + name + ": expected one of: " + names + "; got \"" + value + "\"");
  }

  const Json& json_;
  std::string where_;
  std::set<std::string> known_;
};

class Writer : public ConfigVisitor {
 public:
  explicit Writer(bool schema) : schema_(schema), out_(schema ? Json::array() : Json::object({})) {}
  void field(const char* n, bool& v, const char* h, const Limits& l) override {
    put(n, Json(v), "boolean", h, l);
  }
  void field(const char* n, int64_t& v, const char* h, const Limits& l) override {
    put(n, Json(v), "integer", h, l);
  }
  void field(const char* n, double& v, const char* h, const Limits& l) override {
    put(n, Json(v), "number", h, l);
  }
  void field(const char* n, std::string& v, const char* h, const Limits& l) override {
    put(n, Json(v), "string", h, l);
  }
  void field(const char* n, std::vector<int64_t>& v, const char* h, const Limits& l) override {
    put(n, Json(v), "integers", h, l);
  }
  void field(const char* n, std::vector<double>& v, const char* h, const Limits& l) override {
    put(n, Json(v), "numbers", h, l);
  }
  void field(const char* n, std::vector<std::string>& v, const char* h, const Limits& l) override {
    put(n, Json(v), "strings", h, l);
  }
  void field(const char* n, Json& v, const char* h, const Limits& l) override {
    put(n, v, "json", h, l);
  }

  Json take() { return std::move(out_); }

 private:
  void put(const char* name, Json value, const char* type, const char* help, const Limits& limits) {
    if (!schema_) {
      out_[name] = std::move(value);
      return;
    }
    Json row = Json::object(
        {{"name", name}, {"type", type}, {"default", std::move(value)}, {"help", help}});
    if (std::isfinite(limits.min)) row["min"] = limits.min;
    if (std::isfinite(limits.max)) row["max"] = limits.max;
    if (!limits.one_of.empty()) row["one_of"] = limits.one_of;
    out_.push_back(std::move(row));
  }

  bool schema_;
  Json out_;
};

}  // namespace

void read_config(void* config, Visit visit, const Json& json, const std::string& where,
                 UnknownKeys unknown) {
  if (!json.is_object())
    fail(ErrorCode::kInvalidArgument, "config", where + ": expected an object");
  Reader reader(json, where);
  visit(config, reader);
  reader.finish(unknown);
}

Json write_config(void* config, Visit visit) {
  Writer writer(false);
  visit(config, writer);
  return writer.take();
}

Json config_schema(void* config, Visit visit) {
  Writer writer(true);
  visit(config, writer);
  return writer.take();
}

}  // namespace plait::detail
