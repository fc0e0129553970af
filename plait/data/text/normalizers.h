#pragma once
#include <memory>

#include "plait/core/json.h"
#include "plait/data/text/aligned_text.h"

namespace plait::data {

/// Changes text before it is split. Immutable.
class TextNormalizer {
 public:
  virtual ~TextNormalizer() = default;
  virtual void apply(AlignedText& text) const = 0;
};

/// The "normalizer" of a tokenizer.json; nullptr for null. `where` ("file:normalizer") is put into
/// messages.
/// @throws Error kCorruptData, also for an unsupported type, which it names.
std::unique_ptr<TextNormalizer> make_normalizer(const Json& json, const std::string& where);

/// SentencePiece's precompiled character map, as base64. Defined in precompiled.cpp.
std::unique_ptr<TextNormalizer> make_precompiled(const std::string& base64,
                                                 const std::string& where);

}  // namespace plait::data
