#pragma once
#include <memory>
#include <string>
#include <vector>

#include "plait/core/json.h"

namespace plait::data {

/// Turns tokens back into text, step by step; the parts that come out are joined. Immutable.
class TokenDecoder {
 public:
  virtual ~TokenDecoder() = default;
  virtual void apply(std::vector<std::string>& tokens) const = 0;
};

/// The "decoder" of a tokenizer.json; nullptr for null. @throws Error kCorruptData, also for an
/// unsupported type.
std::unique_ptr<TokenDecoder> make_token_decoder(const Json& json, const std::string& where);

}  // namespace plait::data
