#pragma once
#include <memory>

#include "plait/core/json.h"
#include "plait/data/text/aligned_text.h"

namespace plait::data {

/// Splits pieces into smaller ones. Immutable.
class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  /// Pieces that are added tokens stay as they are.
  virtual void apply(Pieces& pieces) const = 0;
};

/// The "pre_tokenizer" of a tokenizer.json; nullptr for null. @throws Error kCorruptData, also for
/// an unsupported type.
std::unique_ptr<PreTokenizer> make_pre_tokenizer(const Json& json, const std::string& where);

/// GPT-2's printable stand-in for a byte.
char32_t byte_to_char(unsigned char byte);
/// The byte that `c` stands for, or -1.
int char_to_byte(char32_t c);

/// One character of UTF-8 in a string. @throws Error kCorruptData.
char32_t single_char(const Json& json, const std::string& where);

}  // namespace plait::data
