#pragma once
#include <string>
#include <vector>

namespace plait {

/// "image, text": for messages that list what there is.
inline std::string join(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
  return out;
}

}  // namespace plait
