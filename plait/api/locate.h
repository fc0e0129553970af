#pragma once
#include <string>

namespace plait::api {

/// Folder of a shipped model ("plait-base"), or "": PLAIT_HOME/models, the install tree's
/// share/plait/models, the Python package's models, the source tree's pretrained.
std::string shipped_model(const std::string& name);

/// A folder as it is, a shipped model, or a published one of the cache. @throws Error kNotFound
/// that says where it looked.
std::string locate_model(const std::string& name_or_path);

}  // namespace plait::api
