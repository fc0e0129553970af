#pragma once
#include <memory>
#include <string>
#include <vector>

#include "plait/data/text/tokenizer.h"

namespace plait::runtime {

/// Tokens in, text out, as early as it is sure: pieces are whole characters, and what may be the
/// begin of a stop text is held back. The pieces joined are what the tokenizer makes of all tokens,
/// up to the first stop text.
class TextStream {
 public:
  TextStream(std::shared_ptr<const data::Tokenizer> tokenizer, std::vector<std::string> stop);

  /// The piece that the token completes; may be empty.
  std::string push(int64_t id);
  /// What was held back.
  std::string finish();
  /// A stop text came; nothing follows.
  bool stopped() const { return stopped_; }
  const std::string& text() const { return text_; }

 private:
  std::string release(bool everything);

  std::shared_ptr<const data::Tokenizer> tokenizer_;
  std::vector<std::string> stop_;
  std::vector<int64_t> ids_;
  size_t window_ = 0, read_ = 0;  ///< ids_[window_, read_) is context, told already
  std::string held_, text_;
  bool stopped_ = false;
};

}  // namespace plait::runtime
