#pragma once
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "plait/core/json.h"
#include "plait/core/tensor_map.h"

/// The table behind published.h: one entry per published model_type.
namespace plait::models {

/// What a key must be for the encoder to compute what the reference computes; a missing key means
/// `value`.
struct Requirement {
  const char* key;
  Json value;
};

/// One "model_type": how its config and its names map to an encoder of ours.
struct Family {
  const char* type;                   ///< Name in the registry.
  std::vector<const char*> prefixes;  ///< Stripped from weight names: "bert.".
  std::vector<std::pair<const char*, const char*>>
      renames;          ///< Regular expressions, applied in order.
  const char* ignored;  ///< Names (after renaming) of heads and buffers to leave out.
  std::vector<Requirement> required;
  std::function<Json(const Json& config, const TensorMap& weights, const std::string& where)>
      translate;
};

/// By model_type.
const std::map<std::string, Family>& published_families();

/// The entry for a model_type: two-tower models lead to their image tower, RoBERTa's relatives to
/// XLM-R.
std::string published_family(const std::string& model_type);

/// Throws kInvalidArgument: `where`: `key`: expected ..., got ... (not supported).
[[noreturn]] void unsupported(const std::string& where, const std::string& key,
                              const std::string& expected, const Json& got);

/// Rows of a matrix, 0 when there is none of that name.
int64_t matrix_rows(const TensorMap& weights, const char* name);

}  // namespace plait::models
