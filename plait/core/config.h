#pragma once
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "plait/core/json.h"

namespace plait {

/// What a field accepts.
struct Limits {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  std::vector<std::string> one_of = {};  ///< For strings: the valid values.
};

/// Walks the fields of a config in order. A config is a struct of fields with defaults and
///
///     void visit(ConfigVisitor& v) {
///       v.field("hidden_size", hidden_size, "Width of the encoder", {.min = 1, .max = 65536});
///     }
///     static Config tiny();        // small enough for tests
///     void validate() const;       // relations between fields; throws Error kInvalidArgument
///
/// JSON reading and writing, the schema, `--help` and the docs table all come from this one
/// function.
class ConfigVisitor {
 public:
  virtual ~ConfigVisitor() = default;
  virtual void field(const char* name, bool& value, const char* help,
                     const Limits& limits = {}) = 0;
  virtual void field(const char* name, int64_t& value, const char* help,
                     const Limits& limits = {}) = 0;
  virtual void field(const char* name, double& value, const char* help,
                     const Limits& limits = {}) = 0;
  virtual void field(const char* name, std::string& value, const char* help,
                     const Limits& limits = {}) = 0;
  virtual void field(const char* name, std::vector<int64_t>& value, const char* help,
                     const Limits& limits = {}) = 0;
  virtual void field(const char* name, std::vector<double>& value, const char* help,
                     const Limits& limits = {}) = 0;
  virtual void field(const char* name, std::vector<std::string>& value, const char* help,
                     const Limits& limits = {}) = 0;
  /// Any JSON (a nested config that its own owner parses).
  virtual void field(const char* name, Json& value, const char* help,
                     const Limits& limits = {}) = 0;
};

/// How to treat a key that the config does not have.
enum class UnknownKeys {
  kError,  ///< Plait's own configs: an error that names the path.
  kLog,    ///< A published config.json: logged at debug level.
};

namespace detail {
using Visit = void (*)(void* config, ConfigVisitor& visitor);
void read_config(void* config, Visit visit, const Json& json, const std::string& where,
                 UnknownKeys unknown);
Json write_config(void* config, Visit visit);
Json config_schema(void* config, Visit visit);
template <class C>
constexpr Visit visit_of =
    [](void* config, ConfigVisitor& visitor) { static_cast<C*>(config)->visit(visitor); };
}  // namespace detail

/// Reads a config; missing keys keep their defaults. `where` prefixes paths in messages
/// ("config.json:streams.image").
/// @throws Error kInvalidArgument for a wrong type, a value out of range, or (kError) an unknown
/// key.
template <class C>
C read_config(const Json& json, const std::string& where,
              UnknownKeys unknown = UnknownKeys::kError) {
  C config;
  detail::read_config(&config, detail::visit_of<C>, json, where, unknown);
  config.validate();
  return config;
}

template <class C>
Json write_config(const C& config) {
  C copy = config;
  return detail::write_config(&copy, detail::visit_of<C>);
}

/// [{"name", "type", "default", "help", "min", "max", "one_of"} ...]
template <class C>
Json config_schema() {
  C config;
  return detail::config_schema(&config, detail::visit_of<C>);
}

}  // namespace plait
