#include <array>
#include <cstring>

#include "plait/core/base64.h"
#include "plait/core/error.h"
#include "plait/data/text/normalizers.h"
#include "plait/data/text/unicode_normal.h"

namespace plait::data {
namespace {

[[noreturn]] void corrupt(const std::string& where, const char* what) {
  fail(ErrorCode::kCorruptData, "tokenizer", std::string("expected ") + what + " at " + where);
}

/// A Darts double-array trie from byte strings to offsets into NUL-terminated replacements.
class Precompiled : public TextNormalizer {
 public:
  Precompiled(const std::string& base64, const std::string& where) {
    std::optional<std::string> decoded = decode_base64(base64);
    if (!decoded) corrupt(where, "base64");
    const std::string& bytes = *decoded;
    uint32_t size = 0;
    if (bytes.size() < 4) corrupt(where, "a character map");
    std::memcpy(&size, bytes.data(), 4);
    if (size % 4 != 0 || size == 0 || size > bytes.size() - 4)
      corrupt(where, "a character map whose trie fits");
    units_.resize(size / 4);
    std::memcpy(units_.data(), bytes.data() + 4, size);
    replacements_ = bytes.substr(4 + size);
    if (!is_utf8(replacements_)) corrupt(where, "replacements in UTF-8");
    replacements_ += '\0';
    for (unsigned c = 0; c < 0x80; ++c) {
      std::string_view to;
      char text = static_cast<char>(c);
      ascii_[c] = find({&text, 1}, to);
    }
  }

  void apply(AlignedText& text) const override {
    const std::string& old = text.bytes;
    Rewriter out(text);
    for (size_t at = 0; at < old.size();) {
      auto c = static_cast<unsigned char>(old[at]);
      bool next_plain = at + 1 == old.size() || static_cast<unsigned char>(old[at + 1]) < 0x80;
      if (c < 0x80 && next_plain && !ascii_[c] && c != '\r') {
        out.copy(1);
        ++at;
        continue;
      }
      size_t end = grapheme_end(old, at);
      std::string_view to;
      if (end - at < 6 && find(std::string_view(old).substr(at, end - at), to)) {
        replace(out, old, end, to);
      } else {
        for (size_t i = at; i < end;) {
          size_t size = char_size(old[i]);
          if (find(std::string_view(old).substr(i, size), to)) {
            replace(out, old, i + size, to);
          } else {
            out.copy(size);
          }
          i += size;
        }
      }
      at = end;
    }
    text = out.finish();
  }

 private:
  /// The replacement of the shortest prefix of `key` in the trie, as the reference does.
  bool find(std::string_view key, std::string_view& to) const {
    auto offset = [](uint32_t unit) { return (unit >> 10) << ((unit & (1u << 9)) >> 6); };
    size_t node = offset(units_[0]);
    for (char ch : key) {
      auto c = static_cast<unsigned char>(ch);
      if (c == 0) return false;
      node ^= c;
      if (node >= units_.size()) return false;
      uint32_t unit = units_[node];
      if ((unit & (1u << 31 | 0xFFu)) != c) return false;
      node ^= offset(unit);
      if (unit >> 8 & 1) {
        if (node >= units_.size()) return false;
        size_t begin = units_[node] & 0x7FFFFFFFu;
        if (begin >= replacements_.size()) return false;
        to = std::string_view(replacements_.data() + begin);
        return (replacements_[begin] & 0xC0) != 0x80;
      }
    }
    return false;
  }

  /// The first characters stand for the old ones one by one; what is left over is inserted or
  /// swallowed.
  static void replace(Rewriter& out, const std::string& old, size_t end, std::string_view to) {
    for (size_t at = 0; at < to.size();) {
      char32_t c = next_char(to, at);
      if (out.cursor() < end) {
        out.replace(c, char_size(old[out.cursor()]));
      } else {
        out.insert(c);
      }
    }
    if (out.cursor() < end) out.drop(end - out.cursor());
  }

  std::vector<uint32_t> units_;
  std::string replacements_;
  std::array<bool, 128> ascii_{};
};

}  // namespace

std::unique_ptr<TextNormalizer> make_precompiled(const std::string& base64,
                                                 const std::string& where) {
  return std::make_unique<Precompiled>(base64, where);
}

}  // namespace plait::data
