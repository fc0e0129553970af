#pragma once
#include "plait/core/registry.h"
#include "plait/models/model.h"

namespace plait::models {

/// Every encoder, decoder, fusion layer and head, by the name that configs use. Built once,
/// read-only, thread-safe.
const Registry<Model>& registry();

/// Makes a registered model from {"type": name, ...config}; `where` prefixes config errors.
std::shared_ptr<Model> create(const Json& config, const std::string& where);

/// The same, checked to be of a typed interface: create_as<Encoder>(config,
/// "streams.image.encoder").
template <class T>
std::shared_ptr<T> create_as(const Json& config, const std::string& where) {
  auto made = std::dynamic_pointer_cast<T>(create(config, where));
  if (!made)
    fail(ErrorCode::kInvalidArgument, "registry",
         where + ": \"" + config.get("type", "") + "\" is of another kind");
  return made;
}

}  // namespace plait::models
