#pragma once
#include <functional>
#include <map>
#include <string>

namespace plait::data {

/// Calls of a streaming XML parser; any may be empty.
struct XmlEvents {
  std::function<void(const std::string& name, const std::map<std::string, std::string>& attributes)>
      start;
  std::function<void(const std::string& name)> end;
  std::function<void(const std::string& text)> text;  ///< Character data; may come in pieces.
};

/// Parses a whole document in UTF-8 or an encoding that it declares. External entities are never
/// loaded; entity expansion is bounded; at most 256 levels. @throws Error kCorruptData naming
/// `source` and the line; what an event throws passes on.
void parse_xml(const std::string& document, const std::string& source, const XmlEvents& events);

}  // namespace plait::data
