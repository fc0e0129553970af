#pragma once
#include <memory>

#include "plait/core/json.h"
#include "plait/data/text/tokenizer.h"

namespace plait::data {

/// Puts special tokens around one or two encoded texts. Immutable.
class PostProcessor {
 public:
  virtual ~PostProcessor() = default;
  /// How many tokens it adds.
  virtual size_t added(bool pair) const = 0;
  /// One or two encodings to as many or more, which are then joined.
  virtual std::vector<Encoding> process(std::vector<Encoding> encodings,
                                        bool add_special) const = 0;
  /// For every step that takes white space off the offsets: whether a space was put in front of the
  /// text.
  virtual void trims(std::vector<bool>& prefix_space) const {}
};

/// The "post_processor" of a tokenizer.json; nullptr for null. @throws Error kCorruptData, also for
/// an unsupported type.
std::unique_ptr<PostProcessor> make_post_processor(const Json& json, const std::string& where);

/// Appends `from`'s tokens.
void append_encoding(Encoding& to, const Encoding& from);
/// Appends one token.
void append_token(Encoding& to, int64_t id, int64_t type_id, std::pair<uint32_t, uint32_t> offset,
                  bool special);

}  // namespace plait::data
