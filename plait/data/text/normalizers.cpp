#include "plait/data/text/normalizers.h"

#include "plait/core/error.h"
#include "plait/data/text/regex.h"
#include "plait/data/text/unicode_normal.h"

namespace plait::data {
namespace {

using NormalizerPtr = std::unique_ptr<TextNormalizer>;

bool is_chinese(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
         (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
         (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

/// Calls `f(c, size)` for every character; f moves `out` on.
template <class F>
void rewrite(AlignedText& text, F f) {
  Rewriter out(text);
  for (size_t at = 0; at < text.bytes.size();) {
    size_t begin = at;
    char32_t c = next_char(text.bytes, at);
    f(out, c, at - begin);
  }
  text = out.finish();
}

void keep_lower(Rewriter& out, const CharClasses& classes, char32_t c, size_t size) {
  out.replace(classes.lower(c), size);
  if (c == 0x130) out.insert(0x307);
}

class Bert : public TextNormalizer {
 public:
  explicit Bert(const Json& json)
      : clean_(json.get("clean_text", true)),
        chinese_(json.get("handle_chinese_chars", true)),
        lower_(json.get("lowercase", true)),
        strip_(json.get("strip_accents", lower_)) {}

  /// Everything in one pass. Decomposing character by character leaves out the reordering of marks,
  /// which shows only when a mark stays that is not Mn: then the text goes through the steps one by
  /// one.
  void apply(AlignedText& text) const override {
    Rewriter out(text);
    std::u32string parts;
    for (size_t at = 0; at < text.bytes.size();) {
      size_t begin = at;
      char32_t c = next_char(text.bytes, at);
      size_t size = at - begin;
      uint16_t kind = classes_.of(c);
      if (clean_ && c != '\t' && c != '\n' && c != '\r') {
        if (kind & kControlChar) {
          out.drop(size);
          continue;
        }
      }
      if (clean_ && (kind & kSpaceChar)) {
        out.replace(' ', size);
        continue;
      }
      bool spaced = chinese_ && c >= 0x3400 && is_chinese(c);
      if (!strip_) {
        if (spaced) {
          out.replace(' ', size);
          out.insert(c);
          out.insert(' ');
        } else if (lower_) {
          keep_lower(out, classes_, c, size);
        } else {
          out.replace(c, size);
        }
        continue;
      }
      parts.clear();
      if (!decompose(c, parts)) parts.assign(1, c);
      bool consumed = false;
      auto put = [&](char32_t part) {
        if (consumed) {
          out.insert(part);
        } else {
          out.replace(part, size);
        }
        consumed = true;
      };
      if (spaced) put(' ');
      for (char32_t part : parts) {
        if (classes_.is(part, kNonspacingMarkChar)) continue;
        if (part >= 0x300 && combining_class(part) != 0) return step_by_step(text);
        put(lower_ ? classes_.lower(part) : part);
        if (lower_ && part == 0x130) put(0x307);
      }
      if (spaced) put(' ');
      if (!consumed) out.drop(size);
    }
    text = out.finish();
  }

 private:
  void step_by_step(AlignedText& text) const {
    rewrite(text, [&](Rewriter& out, char32_t c, size_t size) {
      bool line = c == '\t' || c == '\n' || c == '\r';
      if (clean_ && !line && classes_.is(c, kControlChar)) return out.drop(size);
      bool spaced = chinese_ && is_chinese(c);
      if (clean_ && classes_.is(c, kSpaceChar)) c = ' ';
      if (!spaced) return out.replace(c, size);
      out.replace(' ', size);
      out.insert(c);
      out.insert(' ');
    });
    normalize_unicode(text, NormalForm::kNfd);
    rewrite(text, [&](Rewriter& out, char32_t c, size_t size) {
      if (classes_.is(c, kNonspacingMarkChar)) return out.drop(size);
      if (lower_) return keep_lower(out, classes_, c, size);
      out.replace(c, size);
    });
  }

  const CharClasses& classes_ = CharClasses::instance();
  bool clean_, chinese_, lower_, strip_;
};

class Form : public TextNormalizer {
 public:
  explicit Form(NormalForm form) : form_(form) {}
  void apply(AlignedText& text) const override { normalize_unicode(text, form_); }

 private:
  NormalForm form_;
};

class Lowercase : public TextNormalizer {
 public:
  void apply(AlignedText& text) const override {
    rewrite(text,
            [&](Rewriter& out, char32_t c, size_t size) { keep_lower(out, classes_, c, size); });
  }

 private:
  const CharClasses& classes_ = CharClasses::instance();
};

class StripAccents : public TextNormalizer {
 public:
  void apply(AlignedText& text) const override {
    rewrite(text, [&](Rewriter& out, char32_t c, size_t size) {
      if (classes_.is(c, kCombiningMarkChar)) return out.drop(size);
      out.replace(c, size);
    });
  }

 private:
  const CharClasses& classes_ = CharClasses::instance();
};

/// White space off the ends.
class Strip : public TextNormalizer {
 public:
  explicit Strip(const Json& json)
      : left_(json.at("strip_left").as_bool()), right_(json.at("strip_right").as_bool()) {}
  void apply(AlignedText& text) const override {
    size_t first = text.bytes.size(), last = 0;
    for (size_t at = 0; at < text.bytes.size();) {
      size_t begin = at;
      if (classes_.is(next_char(text.bytes, at), kSpaceChar)) continue;
      first = std::min(first, begin);
      last = at;
    }
    size_t begin = left_ ? first : 0;
    size_t end = right_ ? std::max(last, begin) : text.bytes.size();
    if (begin == 0 && end == text.bytes.size()) return;
    Rewriter out(text);
    out.drop(begin);
    out.copy(end - begin);
    text = out.finish();
  }

 private:
  const CharClasses& classes_ = CharClasses::instance();
  bool left_, right_;
};

class Prepend : public TextNormalizer {
 public:
  explicit Prepend(const Json& json) : text_(json.at("prepend").as_string()) {}
  void apply(AlignedText& text) const override {
    if (text.bytes.empty() || text_.empty()) return;
    Rewriter out(text);
    out.insert_before(text_);
    out.copy(text.bytes.size());
    text = out.finish();
  }

 private:
  std::string text_;
};

class Replace : public TextNormalizer {
 public:
  Replace(const Json& json, const std::string& where) : content_(json.at("content").as_string()) {
    const Json& pattern = json.at("pattern");
    regex_ = pattern.contains("Regex") ? Regex::compile(pattern.at("Regex").as_string(), where)
                                       : Regex::literal(pattern.at("String").as_string());
  }
  void apply(AlignedText& text) const override {
    std::vector<Span> matches;
    regex_->find_all(text.bytes, matches);
    if (matches.empty()) return;
    if (matches.size() * content_.size() > kMaxGrowth) {
      fail(ErrorCode::kResourceLimit, "tokenizer",
           "expected a replacement that keeps the text under 256 MiB");
    }
    Rewriter out(text);
    for (const Span& match : matches) {
      out.copy(match.begin - out.cursor());
      out.drop(match.end - match.begin);
      out.insert(content_);
    }
    out.copy(text.bytes.size() - out.cursor());
    text = out.finish();
  }

 private:
  static constexpr size_t kMaxGrowth = 256u << 20;
  std::string content_;
  std::shared_ptr<const Regex> regex_;
};

/// The clean-up of neural machine translation corpora in SentencePiece.
class Nmt : public TextNormalizer {
 public:
  void apply(AlignedText& text) const override {
    rewrite(text, [](Rewriter& out, char32_t c, size_t size) {
      if ((c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F ||
          c == 0x9F) {
        return out.drop(size);
      }
      bool space = c == 9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 ||
                   (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
                   c == 0xFEFF || c == 0xFFFD;
      out.replace(space ? U' ' : c, size);
    });
  }
};

class Sequence : public TextNormalizer {
 public:
  Sequence(const Json& json, const std::string& where) {
    const Json::Array& items = json.at("normalizers").items();
    for (size_t i = 0; i < items.size(); ++i) {
      if (auto part =
              make_normalizer(items[i], where + ".normalizers[" + std::to_string(i) + "]")) {
        parts_.push_back(std::move(part));
      }
    }
  }
  void apply(AlignedText& text) const override {
    for (const auto& part : parts_) part->apply(text);
  }

 private:
  std::vector<NormalizerPtr> parts_;
};

}  // namespace

std::unique_ptr<TextNormalizer> make_normalizer(const Json& json, const std::string& where) {
  if (json.is_null()) return nullptr;
  std::string type = json.at("type").as_string();
  if (type == "BertNormalizer") return std::make_unique<Bert>(json);
  if (type == "NFC") return std::make_unique<Form>(NormalForm::kNfc);
  if (type == "NFD") return std::make_unique<Form>(NormalForm::kNfd);
  if (type == "NFKC") return std::make_unique<Form>(NormalForm::kNfkc);
  if (type == "NFKD") return std::make_unique<Form>(NormalForm::kNfkd);
  if (type == "Lowercase") return std::make_unique<Lowercase>();
  if (type == "StripAccents") return std::make_unique<StripAccents>();
  if (type == "Strip") return std::make_unique<Strip>(json);
  if (type == "Prepend") return std::make_unique<Prepend>(json);
  if (type == "Replace") return std::make_unique<Replace>(json, where);
  if (type == "Nmt") return std::make_unique<Nmt>();
  if (type == "Precompiled") {
    const Json& map = json.at("precompiled_charsmap");
    return map.is_null() || map.as_string().empty() ? nullptr
                                                    : make_precompiled(map.as_string(), where);
  }
  if (type == "Sequence") return std::make_unique<Sequence>(json, where);
  fail(ErrorCode::kCorruptData, "tokenizer",
       "expected a normalizer that Plait has, got \"" + type + "\" at " + where);
}

}  // namespace plait::data
