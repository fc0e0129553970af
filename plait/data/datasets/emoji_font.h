#pragma once
#include <memory>
#include <string>

namespace plait::data {

/// A colour font with bitmaps (CBDT or sbix tables), such as Noto Color Emoji.
class EmojiFont {
 public:
  /// @throws Error kNotFound; kCorruptData when there are no PNG glyphs in it.
  explicit EmojiFont(const std::string& path);
  ~EmojiFont();
  /// The PNG of the one glyph that draws the UTF-8 sequence (ligatures as for flags and families
  /// included), in its largest size; "" when the font has none.
  std::string png(const std::string& sequence) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace plait::data
