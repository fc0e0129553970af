#include "plait/api/locate.h"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <vector>

#include "plait/core/error.h"
#include "plait/models/catalogue.h"

namespace plait::api {
namespace {

namespace fs = std::filesystem;

/// The folder of the library that this code is in.
fs::path library_folder() {
  Dl_info info{};
  if (::dladdr(reinterpret_cast<void*>(&library_folder), &info) == 0 || !info.dli_fname) return {};
  std::error_code ignored;
  return fs::weakly_canonical(info.dli_fname, ignored).parent_path();
}

std::vector<fs::path> model_roots() {
  std::vector<fs::path> roots;
  if (const char* home = std::getenv("PLAIT_HOME"); home && *home)
    roots.push_back(fs::path(home) / "models");
  fs::path library = library_folder();
  roots.push_back(library / "../share/plait/models");  // install tree
  roots.push_back(library / "../models");  // Python package: plait/lib beside plait/models
  roots.push_back(library /
                  "../../share/plait/models");    // install tree with a multi-arch lib folder
  roots.push_back(library / "../../pretrained");  // build/lib in the source tree
  return roots;
}

}  // namespace

std::string shipped_model(const std::string& name) {
  if (name.empty() || name.find('/') != std::string::npos || name[0] == '.') return "";
  for (const fs::path& root : model_roots()) {
    std::error_code ignored;
    if (fs::exists(root / name / "config.json", ignored))
      return fs::weakly_canonical(root / name, ignored).string();
  }
  return "";
}

std::string locate_model(const std::string& name_or_path) {
  std::error_code ignored;
  if (fs::is_directory(name_or_path, ignored)) return name_or_path;
  if (std::string shipped = shipped_model(name_or_path); !shipped.empty()) return shipped;
  return models::resolve_model(name_or_path);
}

}  // namespace plait::api
