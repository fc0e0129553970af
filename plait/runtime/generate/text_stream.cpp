#include "plait/runtime/generate/text_stream.h"

#include <algorithm>

namespace plait::runtime {
namespace {

constexpr std::string_view kBroken = "\xEF\xBF\xBD";

/// Bytes at the end of `text` that may be the begin of a stop text.
size_t possible_stop(const std::string& text, const std::vector<std::string>& stop) {
  size_t longest = 0;
  for (const std::string& end : stop) {
    for (size_t n = std::min(end.size() - 1, text.size()); n > longest; --n) {
      if (text.compare(text.size() - n, n, end, 0, n) == 0) longest = n;
    }
  }
  return longest;
}

/// Moves a cut in UTF-8 text back to where a character begins.
size_t whole_characters(const std::string& text, size_t cut) {
  while (cut > 0 && cut < text.size() && (static_cast<unsigned char>(text[cut]) & 0xC0) == 0x80)
    --cut;
  return cut;
}

}  // namespace

TextStream::TextStream(std::shared_ptr<const data::Tokenizer> tokenizer,
                       std::vector<std::string> stop)
    : tokenizer_(std::move(tokenizer)), stop_(std::move(stop)) {}

std::string TextStream::push(int64_t id) {
  if (stopped_) return "";
  ids_.push_back(id);
  // The last told tokens come along: some decoders drop a space at the very begin.
  const auto at = [&](size_t i) { return ids_.begin() + static_cast<long>(i); };
  const std::string before = tokenizer_->decode({at(window_), at(read_)});
  const std::string after = tokenizer_->decode({at(window_), ids_.end()});
  // A character may take several tokens; a token of rubbish must not hold the text back for ever.
  const bool partial = after.ends_with(kBroken) && ids_.size() - read_ < 8;
  if (partial || after.size() <= before.size()) return "";
  held_ += after.substr(before.size());
  window_ = read_;
  read_ = ids_.size();
  return release(false);
}

std::string TextStream::release(bool everything) {
  size_t end = std::string::npos;
  for (const std::string& text : stop_) end = std::min(end, held_.find(text));
  std::string piece;
  if (end != std::string::npos) {
    stopped_ = true;
    piece = held_.substr(0, end);
    held_.clear();
  } else {
    const size_t cut = everything
                           ? held_.size()
                           : whole_characters(held_, held_.size() - possible_stop(held_, stop_));
    piece = held_.substr(0, cut);
    held_.erase(0, cut);
  }
  text_ += piece;
  return piece;
}

std::string TextStream::finish() {
  if (stopped_) return "";
  const auto at = [&](size_t i) { return ids_.begin() + static_cast<long>(i); };
  const std::string before = tokenizer_->decode({at(window_), at(read_)});
  const std::string after = tokenizer_->decode({at(window_), ids_.end()});
  if (after.size() > before.size()) held_ += after.substr(before.size());
  read_ = ids_.size();
  return release(true);
}

}  // namespace plait::runtime
