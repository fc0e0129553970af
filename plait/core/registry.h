#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "plait/core/error.h"
#include "plait/core/json.h"

namespace plait {

/// Names → factories of `Base`, filled by one explicit function (static-initialiser registration is
/// silently dropped by linkers). Read-only after it is built, so lookups are thread-safe.
template <class Base>
class Registry {
 public:
  struct Entry {
    std::string name;
    std::string kind;  ///< "encoder", "fusion", "head" ...
    std::function<std::shared_ptr<Base>(const Json& config, const std::string& where)> create;
    Json tiny;    ///< The config of `Config::tiny()`.
    Json schema;  ///< Rows of config_schema<Config>().
  };

  explicit Registry(std::string what) : what_(std::move(what)) {}

  void add(Entry entry) {
    if (entries_.count(entry.name))
      fail(ErrorCode::kInternal, what_, "two entries are named " + entry.name);
    order_.push_back(entry.name);
    entries_.emplace(entry.name, std::move(entry));
  }

  /// @throws Error kInvalidArgument that lists the registered names.
  const Entry& at(const std::string& name) const {
    auto it = entries_.find(name);
    if (it != entries_.end()) return it->second;
    std::string known;
    for (const std::string& n : order_) known += (known.empty() ? "" : ", ") + n;
    fail(ErrorCode::kInvalidArgument, what_,
         "expected one of: " + known + "; got \"" + name + "\"");
  }

  bool contains(const std::string& name) const { return entries_.count(name) > 0; }
  /// Names in the order of registration.
  const std::vector<std::string>& names() const { return order_; }

 private:
  std::string what_;
  std::map<std::string, Entry> entries_;
  std::vector<std::string> order_;
};

}  // namespace plait
