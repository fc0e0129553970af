#pragma once
#include <map>
#include <string>
#include <vector>

#include "plait/core/weights/tfjs.h"

/// The topology of a TensorFlow.js graph model; not for other headers than tfjs_graph's.
namespace plait::models::tfjs {

/// One operator. Its attributes are TensorFlow's AttrValue as JSON: {"i": "2"}, {"list": ...}.
class Node {
 public:
  Node(const Json& json, const std::string& where);

  std::string name, op;
  std::vector<std::string> inputs;  ///< Names of operators; control inputs are left out.

  bool has(const char* attribute) const { return attributes_.contains(attribute); }
  std::vector<int64_t> ints(const char* attribute) const;
  std::vector<std::string> texts(const char* attribute) const;
  std::string text(const char* attribute, const char* fallback) const;
  int64_t integer(const char* attribute, int64_t fallback) const;
  double number(const char* attribute, double fallback) const;
  bool flag(const char* attribute) const;
  std::string type(const char* attribute) const;
  /// Number of dimensions of a placeholder; -1: not said.
  int64_t rank() const;

  /// @throws Error kCorruptData, kUnavailable naming the file and the operator.
  [[noreturn]] void corrupt(const std::string& what) const;
  [[noreturn]] void unavailable(const std::string& what) const;

 private:
  const Json* value(const char* attribute, const char* kind) const;
  std::string decoded(const Json& text, const char* attribute) const;
  Json attributes_;
  std::string where_;
};

/// The operators that `outputs` need, each after those that it reads. Empty `outputs` are set as
/// import_tfjs says.
std::vector<Node> needed_nodes(const TfjsFile& file, std::vector<std::string>& outputs,
                               const std::string& where);

}  // namespace plait::models::tfjs
