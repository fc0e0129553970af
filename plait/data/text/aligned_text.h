#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "plait/data/text/unicode.h"

namespace plait::data {

/// A half-open range of bytes.
struct Span {
  uint32_t begin = 0;
  uint32_t end = 0;
  bool operator==(const Span&) const = default;
};

/// Text that remembers, for every byte, which bytes of the original it came from. As long as
/// nothing moved, `origin` stays empty and byte i stands for the character at shift + i.
struct AlignedText {
  std::string bytes;
  std::vector<Span> origin;
  uint32_t shift = 0;

  bool in_place() const { return origin.empty(); }
  /// Where the character that byte `at` belongs to came from.
  Span origin_at(size_t at) const;
  /// Where bytes [begin, end) came from; end > begin.
  Span origin_of(size_t begin, size_t end) const {
    return {origin_at(begin).begin, origin_at(end - 1).end};
  }
  /// Appends other's text behind this one.
  void append(const AlignedText& other);
  /// Writes `origin` out.
  void materialise();
};

/// Builds a new AlignedText from an old one, read from left to right.
class Rewriter {
 public:
  explicit Rewriter(const AlignedText& from);
  /// Emits `c` in the place of the next `length` bytes of the old text (one character).
  void replace(char32_t c, size_t length) { emit(c, length, cursor_, true); }
  /// Emits a character that the old text does not have; it shares the origin of the last one read.
  void insert(char32_t c) { emit(c, 0, cursor_ == 0 ? 0 : cursor_ - 1, false); }
  /// Emits `c` in front of what comes next, sharing its origin.
  void insert_before(char32_t c) { emit(c, 0, cursor_, false); }
  void insert(std::string_view text);
  void insert_before(std::string_view text);
  /// Copies the next `length` bytes.
  void copy(size_t length);
  void drop(size_t length) { cursor_ += length; }
  size_t cursor() const { return cursor_; }
  size_t size() const { return out_.bytes.size(); }
  AlignedText finish();

 private:
  void emit(char32_t c, size_t length, size_t source, bool consumes);
  void leave_place();

  const AlignedText& from_;
  AlignedText out_;
  size_t cursor_ = 0;
  bool in_place_;
};

/// A part of the text on its way to tokens; `token` >= 0 marks an added token that was found.
struct Piece {
  uint32_t begin = 0;
  uint32_t end = 0;
  int64_t token = -1;
};

/// The text with its pieces, in order; between pieces there may be text that was removed.
struct Pieces {
  AlignedText text;
  std::vector<Piece> list;

  std::string_view view(const Piece& piece) const {
    return std::string_view(text.bytes).substr(piece.begin, piece.end - piece.begin);
  }
};

}  // namespace plait::data
