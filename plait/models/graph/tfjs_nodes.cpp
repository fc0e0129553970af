#include "plait/models/graph/tfjs_nodes.h"

#include <charconv>
#include <set>

#include "plait/core/base64.h"
#include "plait/core/error.h"

namespace plait::models::tfjs {
namespace {

constexpr const char* kUnit = "tfjs_graph";

/// "name:0" → "name"; other outputs of an operator have no name here and are found missing.
std::string without_index(const std::string& value) {
  return value.ends_with(":0") ? value.substr(0, value.size() - 2) : value;
}

/// Whole numbers of 64 bits stand as texts.
bool whole(const Json& json, int64_t& out) {
  if (json.is_int()) {
    out = json.as_int();
    return true;
  }
  if (!json.is_string()) return false;
  const std::string& text = json.as_string();
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

Node::Node(const Json& json, const std::string& where) : where_(where) {
  auto text_of = [&](const char* key) {
    const Json* found = json.find(key);
    if (!found || !found->is_string() || found->as_string().empty())
      fail(ErrorCode::kCorruptData, kUnit, where + ": expected operators with a " + key);
    return found->as_string();
  };
  name = text_of("name");
  op = text_of("op");
  if (const Json* given = json.find("input")) {
    if (!given->is_array()) corrupt("expected a list of inputs");
    for (const Json& input : given->items()) {
      if (!input.is_string()) corrupt("expected names as inputs");
      if (!input.as_string().starts_with("^")) inputs.push_back(without_index(input.as_string()));
    }
  }
  if (const Json* given = json.find("attr")) attributes_ = *given;
}

void Node::corrupt(const std::string& what) const {
  fail(ErrorCode::kCorruptData, kUnit, where_ + ": " + op + " \"" + name + "\": " + what);
}

void Node::unavailable(const std::string& what) const {
  fail(ErrorCode::kUnavailable, kUnit, where_ + ": " + op + " \"" + name + "\": " + what);
}

const Json* Node::value(const char* attribute, const char* kind) const {
  const Json* found = attributes_.find(attribute);
  return found ? found->find(kind) : nullptr;
}

std::string Node::decoded(const Json& text, const char* attribute) const {
  std::optional<std::string> bytes;
  if (text.is_string()) bytes = decode_base64(text.as_string());
  if (!bytes) corrupt(std::string("expected a text in base64 as ") + attribute);
  return *bytes;
}

std::vector<int64_t> Node::ints(const char* attribute) const {
  std::vector<int64_t> out;
  const Json* list = value(attribute, "list");
  const Json* numbers = list ? list->find("i") : nullptr;
  if (!numbers) return out;
  if (!numbers->is_array()) corrupt(std::string("expected a list as ") + attribute);
  for (const Json& item : numbers->items()) {
    out.push_back(0);
    if (!whole(item, out.back())) corrupt(std::string("expected whole numbers as ") + attribute);
  }
  return out;
}

std::vector<std::string> Node::texts(const char* attribute) const {
  std::vector<std::string> out;
  const Json* list = value(attribute, "list");
  const Json* given = list ? list->find("s") : nullptr;
  if (!given) return out;
  if (!given->is_array()) corrupt(std::string("expected a list as ") + attribute);
  for (const Json& item : given->items()) out.push_back(decoded(item, attribute));
  return out;
}

std::string Node::text(const char* attribute, const char* fallback) const {
  const Json* given = value(attribute, "s");
  return given ? decoded(*given, attribute) : fallback;
}

int64_t Node::integer(const char* attribute, int64_t fallback) const {
  const Json* given = value(attribute, "i");
  if (given && !whole(*given, fallback))
    corrupt(std::string("expected a whole number as ") + attribute);
  return fallback;
}

double Node::number(const char* attribute, double fallback) const {
  const Json* given = value(attribute, "f");
  if (!given) return fallback;
  if (!given->is_number()) corrupt(std::string("expected a number as ") + attribute);
  return given->as_double();
}

bool Node::flag(const char* attribute) const {
  const Json* given = value(attribute, "b");
  if (given && !given->is_bool()) corrupt(std::string("expected true or false as ") + attribute);
  return given && given->as_bool();
}

std::string Node::type(const char* attribute) const {
  const Json* given = value(attribute, "type");
  return given && given->is_string() ? given->as_string() : "";
}

int64_t Node::rank() const {
  const Json* shape = value("shape", "shape");
  const Json* dims = shape ? shape->find("dim") : nullptr;
  return dims && dims->is_array() ? static_cast<int64_t>(dims->size()) : -1;
}

std::vector<Node> needed_nodes(const TfjsFile& file, std::vector<std::string>& outputs,
                               const std::string& where) {
  const Json* topology = file.model().find("modelTopology");
  const Json* listed = topology ? topology->find("node") : nullptr;
  if (!listed || !listed->is_array())
    fail(ErrorCode::kCorruptData, kUnit,
         where + ": expected a graph model (modelTopology with its nodes), got none");
  std::vector<Node> nodes;
  std::map<std::string, size_t> by_name;
  std::set<std::string> read;
  for (const Json& json : listed->items()) {
    nodes.emplace_back(json, where);
    const Node& node = nodes.back();
    if (!by_name.emplace(node.name, nodes.size() - 1).second)
      node.corrupt("expected every name once");
    read.insert(node.inputs.begin(), node.inputs.end());
  }
  if (outputs.empty()) {
    const Json* signature = file.model().find("signature");
    const Json* named = signature ? signature->find("outputs") : nullptr;
    if (named && named->is_object()) {
      for (const auto& [key, output] : named->members())
        outputs.push_back(without_index(output.get("name", key)));
    }
  }
  if (outputs.empty()) {
    for (const Node& node : nodes) {
      if (!read.count(node.name) && node.op != "Const" && node.op != "Placeholder")
        outputs.push_back(node.name);
    }
  }

  // Depth first without recursion, since a file may have a long chain.
  enum : uint8_t { kNew, kOpen, kDone };
  std::vector<uint8_t> state(nodes.size(), kNew);
  std::vector<size_t> order, stack;
  auto visit = [&](const std::string& name, const std::string& reader) {
    auto found = by_name.find(name);
    if (found == by_name.end())
      fail(ErrorCode::kCorruptData, kUnit,
           where + ": expected an operator \"" + name + "\" for " + reader + ", got none");
    if (state[found->second] == kOpen)
      nodes[found->second].corrupt("expected no circle of operators");
    if (state[found->second] == kNew) stack.push_back(found->second);
  };
  for (const std::string& output : outputs) {
    visit(output, "an output");
    while (!stack.empty()) {
      size_t at = stack.back();
      if (state[at] == kNew) {
        state[at] = kOpen;
        for (const std::string& input : nodes[at].inputs)
          visit(input, "\"" + nodes[at].name + "\"");
      } else {
        stack.pop_back();
        if (state[at] == kOpen) order.push_back(at);
        state[at] = kDone;
      }
    }
  }
  std::vector<Node> sorted;
  for (size_t i : order) sorted.push_back(nodes[i]);
  return sorted;
}

}  // namespace plait::models::tfjs
