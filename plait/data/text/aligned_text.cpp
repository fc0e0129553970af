#include "plait/data/text/aligned_text.h"

namespace plait::data {

Span AlignedText::origin_at(size_t at) const {
  if (!in_place()) return origin[at];
  while ((bytes[at] & 0xC0) == 0x80) --at;
  auto begin = static_cast<uint32_t>(shift + at);
  return {begin, begin + static_cast<uint32_t>(char_size(bytes[at]))};
}

void AlignedText::materialise() {
  if (!in_place() || bytes.empty()) return;
  std::vector<Span> spans;
  spans.reserve(bytes.size());
  for (size_t at = 0; at < bytes.size();) {
    auto begin = static_cast<uint32_t>(shift + at);
    size_t size = char_size(bytes[at]);
    spans.insert(spans.end(), size, Span{begin, begin + static_cast<uint32_t>(size)});
    at += size;
  }
  origin = std::move(spans);
}

void AlignedText::append(const AlignedText& other) {
  if (other.bytes.empty()) return;
  if (bytes.empty()) {
    *this = other;
    return;
  }
  if (in_place() && other.in_place() && other.shift == shift + bytes.size()) {
    bytes += other.bytes;
    return;
  }
  materialise();
  bytes += other.bytes;
  if (other.in_place()) {
    AlignedText copy = other;
    copy.materialise();
    origin.insert(origin.end(), copy.origin.begin(), copy.origin.end());
  } else {
    origin.insert(origin.end(), other.origin.begin(), other.origin.end());
  }
}

Rewriter::Rewriter(const AlignedText& from) : from_(from), in_place_(from.in_place()) {
  out_.shift = from.shift;
  out_.bytes.reserve(from.bytes.size() + from.bytes.size() / 4 + 16);
}

void Rewriter::leave_place() {
  in_place_ = false;
  out_.materialise();
}

void Rewriter::emit(char32_t c, size_t length, size_t source, bool consumes) {
  size_t before = out_.bytes.size();
  append_utf8(out_.bytes, c);
  size_t size = out_.bytes.size() - before;
  if (in_place_) {
    if (consumes && size == length && before == source) {
      cursor_ += length;
      return;
    }
    out_.bytes.resize(before);
    leave_place();
    append_utf8(out_.bytes, c);
  }
  Span origin;
  if (source < from_.bytes.size()) {
    origin = from_.origin_at(source);
  } else {
    origin = {from_.shift, from_.shift};
  }
  out_.origin.insert(out_.origin.end(), size, origin);
  cursor_ += length;
}

void Rewriter::insert(std::string_view text) {
  for (size_t at = 0; at < text.size();) insert(next_char(text, at));
}

void Rewriter::insert_before(std::string_view text) {
  for (size_t at = 0; at < text.size();) insert_before(next_char(text, at));
}

void Rewriter::copy(size_t length) {
  if (length == 0) return;
  if (in_place_ && out_.bytes.size() != cursor_) leave_place();
  out_.bytes.append(from_.bytes, cursor_, length);
  if (!in_place_) {
    if (from_.in_place()) {
      for (size_t at = cursor_; at < cursor_ + length;) {
        size_t size = char_size(from_.bytes[at]);
        auto begin = static_cast<uint32_t>(from_.shift + at);
        out_.origin.insert(out_.origin.end(), size,
                           Span{begin, begin + static_cast<uint32_t>(size)});
        at += size;
      }
    } else {
      out_.origin.insert(out_.origin.end(),
                         from_.origin.begin() + static_cast<std::ptrdiff_t>(cursor_),
                         from_.origin.begin() + static_cast<std::ptrdiff_t>(cursor_ + length));
    }
  }
  cursor_ += length;
}

AlignedText Rewriter::finish() { return std::move(out_); }

}  // namespace plait::data
