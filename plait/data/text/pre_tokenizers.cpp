#include "plait/data/text/pre_tokenizers.h"

#include <algorithm>
#include <array>

#include "plait/core/error.h"
#include "plait/data/text/regex.h"
#include "plait/data/text/unicode_normal.h"

namespace plait::data {
namespace {

enum class Delimiter { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

Delimiter delimiter_of(const std::string& name, const std::string& where) {
  const char* names[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext",
                         "Contiguous"};
  for (int i = 0; i < 5; ++i) {
    if (name == names[i]) return static_cast<Delimiter>(i);
  }
  fail(ErrorCode::kCorruptData, "tokenizer",
       "expected a behaviour like \"Isolated\" at " + where + ", got \"" + name + "\"");
}

/// A part of a piece that matches the delimiter, or lies between two that do.
struct Part {
  uint32_t begin, end;
  bool match;
};

void add_parts(std::vector<Part>& parts, Delimiter behaviour, uint32_t shift,
               std::vector<Piece>& out) {
  auto put = [&](uint32_t begin, uint32_t end) {
    if (end > begin) out.push_back({begin + shift, end + shift, -1});
  };
  switch (behaviour) {
    case Delimiter::kRemoved:
      for (const Part& part : parts) {
        if (!part.match) put(part.begin, part.end);
      }
      return;
    case Delimiter::kIsolated:
      for (const Part& part : parts) put(part.begin, part.end);
      return;
    case Delimiter::kMergedWithNext: {
      // As the others, but from the right.
      std::vector<Part> merged;
      bool before = false;
      for (size_t i = parts.size(); i-- > 0;) {
        if (parts[i].match && !before && !merged.empty()) {
          merged.back().begin = parts[i].begin;
        } else {
          merged.push_back(parts[i]);
        }
        before = parts[i].match;
      }
      for (size_t i = merged.size(); i-- > 0;) put(merged[i].begin, merged[i].end);
      return;
    }
    default: {
      std::vector<Part> merged;
      bool before = false;
      for (const Part& part : parts) {
        bool joins =
            behaviour == Delimiter::kContiguous ? part.match == before : part.match && !before;
        if (joins && !merged.empty()) {
          merged.back().end = part.end;
        } else {
          merged.push_back(part);
        }
        before = part.match;
      }
      for (const Part& part : merged) put(part.begin, part.end);
    }
  }
}

/// Replaces every piece that is not a token by what `split` finds in it: find(view, parts).
template <class Find>
void split_pieces(Pieces& pieces, Delimiter behaviour, Find find) {
  std::vector<Piece> out;
  out.reserve(pieces.list.size() * 2);
  std::vector<Part> parts;
  for (const Piece& piece : pieces.list) {
    if (piece.token >= 0) {
      out.push_back(piece);
      continue;
    }
    parts.clear();
    find(pieces.view(piece), parts);
    add_parts(parts, behaviour, piece.begin, out);
  }
  pieces.list = std::move(out);
}

/// Characters of a class are delimiters, each by itself.
template <class Predicate>
void split_by_class(Pieces& pieces, Delimiter behaviour, Predicate is) {
  split_pieces(pieces, behaviour, [&](std::string_view text, std::vector<Part>& parts) {
    uint32_t last = 0;
    for (size_t at = 0; at < text.size();) {
      auto begin = static_cast<uint32_t>(at);
      if (!is(next_char(text, at))) continue;
      if (last < begin) parts.push_back({last, begin, false});
      parts.push_back({begin, static_cast<uint32_t>(at), true});
      last = static_cast<uint32_t>(at);
    }
    if (last < text.size()) parts.push_back({last, static_cast<uint32_t>(text.size()), false});
  });
}

void split_by_regex(Pieces& pieces, Delimiter behaviour, const Regex& regex, bool invert) {
  std::vector<Span> matches;
  split_pieces(pieces, behaviour, [&](std::string_view text, std::vector<Part>& parts) {
    matches.clear();
    regex.find_all(text, matches);
    uint32_t last = 0;
    for (const Span& match : matches) {
      if (last < match.begin) parts.push_back({last, match.begin, invert});
      parts.push_back({match.begin, match.end, !invert});
      last = match.end;
    }
    if (last < text.size()) parts.push_back({last, static_cast<uint32_t>(text.size()), invert});
  });
}

/// Rewrites every piece; f(out, view, piece) must read all of it. Text between pieces is dropped.
template <class F>
void rewrite_pieces(Pieces& pieces, F f) {
  Rewriter out(pieces.text);
  std::vector<Piece> list;
  list.reserve(pieces.list.size());
  for (const Piece& piece : pieces.list) {
    out.drop(piece.begin - out.cursor());
    auto begin = static_cast<uint32_t>(out.size());
    if (piece.token >= 0) {
      out.copy(piece.end - piece.begin);
    } else {
      f(out, pieces.view(piece), piece);
    }
    list.push_back({begin, static_cast<uint32_t>(out.size()), piece.token});
  }
  pieces.text = out.finish();
  pieces.list = std::move(list);
}

template <int kMode>
class ByClass : public PreTokenizer {
 public:
  explicit ByClass(Delimiter behaviour = Delimiter::kIsolated) : behaviour_(behaviour) {}
  void apply(Pieces& pieces) const override {
    split_by_class(pieces, behaviour_, [&](char32_t c) { return classes_.is(c, kMode); });
  }

 private:
  const CharClasses& classes_ = CharClasses::instance();
  Delimiter behaviour_;
};

class Bert : public PreTokenizer {
 public:
  void apply(Pieces& pieces) const override {
    std::vector<Piece> out;
    out.reserve(pieces.list.size() + pieces.text.bytes.size() / 4);
    for (const Piece& piece : pieces.list) {
      if (piece.token >= 0) {
        out.push_back(piece);
        continue;
      }
      std::string_view text = pieces.view(piece);
      auto put = [&](size_t begin, size_t end) {
        if (end > begin)
          out.push_back({piece.begin + static_cast<uint32_t>(begin),
                         piece.begin + static_cast<uint32_t>(end), -1});
      };
      size_t word = 0;
      for (size_t at = 0; at < text.size();) {
        size_t begin = at;
        uint16_t kind = classes_.of(next_char(text, at));
        if (!(kind & (kSpaceChar | kPunctuationChar))) continue;
        put(word, begin);
        if (!(kind & kSpaceChar)) put(begin, at);
        word = at;
      }
      put(word, text.size());
    }
    pieces.list = std::move(out);
  }

 private:
  const CharClasses& classes_ = CharClasses::instance();
};

/// Runs of word characters and runs of anything else but white space.
class Whitespace : public PreTokenizer {
 public:
  void apply(Pieces& pieces) const override {
    split_pieces(pieces, Delimiter::kIsolated,
                 [&](std::string_view text, std::vector<Part>& parts) {
                   int before = 0;
                   for (size_t at = 0; at < text.size();) {
                     auto begin = static_cast<uint32_t>(at);
                     uint16_t kind = classes_.of(next_char(text, at));
                     int now = kind & kWordChar ? 1 : kind & kSpaceChar ? 0 : 2;
                     if (now != 0 && now == before) {
                       parts.back().end = static_cast<uint32_t>(at);
                     } else if (now != 0) {
                       parts.push_back({begin, static_cast<uint32_t>(at), true});
                     }
                     before = now;
                   }
                 });
  }

 private:
  const CharClasses& classes_ = CharClasses::instance();
};

class ByteLevel : public PreTokenizer {
 public:
  explicit ByteLevel(const Json& json)
      : prefix_space_(json.get("add_prefix_space", true)),
        regex_(json.get("use_regex", true) ? Regex::gpt2() : nullptr) {}
  void apply(Pieces& pieces) const override {
    if (prefix_space_) {
      rewrite_pieces(pieces, [](Rewriter& out, std::string_view text, const Piece&) {
        if (!text.empty() && text[0] != ' ') out.insert_before(U' ');
        out.copy(text.size());
      });
    }
    if (regex_) split_by_regex(pieces, Delimiter::kIsolated, *regex_, false);
    rewrite_pieces(pieces, [](Rewriter& out, std::string_view text, const Piece&) {
      for (size_t at = 0; at < text.size();) {
        size_t size = char_size(text[at]);
        out.replace(byte_to_char(static_cast<unsigned char>(text[at])), size);
        for (size_t i = 1; i < size; ++i)
          out.insert(byte_to_char(static_cast<unsigned char>(text[at + i])));
        at += size;
      }
    });
  }

 private:
  bool prefix_space_;
  std::shared_ptr<const Regex> regex_;
};

class Metaspace : public PreTokenizer {
 public:
  Metaspace(const Json& json, const std::string& where)
      : mark_(single_char(json.at("replacement"), where + ".replacement")) {
    std::string scheme = json.get("prepend_scheme", "always");
    if (!json.get("add_prefix_space", true)) scheme = "never";
    if (scheme != "always" && scheme != "first" && scheme != "never") {
      fail(ErrorCode::kCorruptData, "tokenizer",
           "expected always, first or never at " + where + ".prepend_scheme");
    }
    always_ = scheme == "always";
    first_ = scheme == "first";
    split_ = json.get("split", true);
    append_utf8(mark_text_, mark_);
  }

  void apply(Pieces& pieces) const override {
    const AlignedText& text = pieces.text;
    rewrite_pieces(pieces, [&](Rewriter& out, std::string_view view, const Piece& piece) {
      bool marked = view.starts_with(' ') || view.starts_with(mark_text_);
      bool prepend = always_ || (first_ && text.origin_at(piece.begin).begin == 0);
      if (!view.empty() && !marked && prepend) out.insert_before(mark_);
      size_t done = 0;
      for (size_t at = view.find(' '); at != std::string_view::npos; at = view.find(' ', at + 1)) {
        out.copy(at - done);
        out.replace(mark_, 1);
        done = at + 1;
      }
      out.copy(view.size() - done);
    });
    if (split_) {
      split_by_class(pieces, Delimiter::kMergedWithNext, [&](char32_t c) { return c == mark_; });
    }
  }

 private:
  char32_t mark_;
  std::string mark_text_;
  bool always_ = false, first_ = false, split_ = true;
};

class Split : public PreTokenizer {
 public:
  Split(const Json& json, const std::string& where)
      : behaviour_(delimiter_of(json.at("behavior").as_string(), where + ".behavior")),
        invert_(json.get("invert", false)) {
    const Json& pattern = json.at("pattern");
    regex_ = pattern.contains("Regex")
                 ? Regex::compile(pattern.at("Regex").as_string(), where + ".pattern")
                 : Regex::literal(pattern.at("String").as_string());
  }
  void apply(Pieces& pieces) const override {
    split_by_regex(pieces, behaviour_, *regex_, invert_);
  }

 private:
  Delimiter behaviour_;
  bool invert_;
  std::shared_ptr<const Regex> regex_;
};

class CharDelimiter : public PreTokenizer {
 public:
  explicit CharDelimiter(char32_t c) : c_(c) {}
  void apply(Pieces& pieces) const override {
    split_by_class(pieces, Delimiter::kRemoved, [&](char32_t c) { return c == c_; });
  }

 private:
  char32_t c_;
};

/// A boundary wherever the script changes; what has no script (the space) goes with what is before
/// it.
class UnicodeScripts : public PreTokenizer {
 public:
  void apply(Pieces& pieces) const override {
    split_pieces(pieces, Delimiter::kIsolated, [](std::string_view text, std::vector<Part>& parts) {
      int last = -2;
      for (size_t at = 0; at < text.size();) {
        auto begin = static_cast<uint32_t>(at);
        int script = script_class(next_char(text, at));
        if (script != -1 && script != last) {
          parts.push_back({begin, begin, true});
          last = script;
        }
        // Like the reference, text before the first character that has a script is lost.
        if (!parts.empty()) parts.back().end = static_cast<uint32_t>(at);
      }
    });
  }
};

class FixedLength : public PreTokenizer {
 public:
  explicit FixedLength(size_t length) : length_(length) {}
  void apply(Pieces& pieces) const override {
    split_pieces(pieces, Delimiter::kIsolated,
                 [&](std::string_view text, std::vector<Part>& parts) {
                   size_t count = 0;
                   for (size_t at = 0; at < text.size(); ++count) {
                     auto begin = static_cast<uint32_t>(at);
                     next_char(text, at);
                     if (count % length_ == 0) parts.push_back({begin, begin, true});
                     parts.back().end = static_cast<uint32_t>(at);
                   }
                 });
  }

 private:
  size_t length_;
};

class Sequence : public PreTokenizer {
 public:
  Sequence(const Json& json, const std::string& where) {
    const Json::Array& items = json.at("pretokenizers").items();
    for (size_t i = 0; i < items.size(); ++i) {
      if (auto part =
              make_pre_tokenizer(items[i], where + ".pretokenizers[" + std::to_string(i) + "]")) {
        parts_.push_back(std::move(part));
      }
    }
  }
  void apply(Pieces& pieces) const override {
    for (const auto& part : parts_) part->apply(pieces);
  }

 private:
  std::vector<std::unique_ptr<PreTokenizer>> parts_;
};

struct ByteMap {
  std::array<char32_t, 256> to_char;
  std::array<int16_t, 512> to_byte;
};

const ByteMap& byte_map() {
  static const ByteMap map = [] {
    ByteMap m;
    m.to_byte.fill(-1);
    char32_t next = 256;
    for (unsigned b = 0; b < 256; ++b) {
      bool printable = (b >= '!' && b <= '~') || (b >= 0xA1 && b != 0xAD);
      m.to_char[b] = printable ? b : next++;
      m.to_byte[m.to_char[b]] = static_cast<int16_t>(b);
    }
    return m;
  }();
  return map;
}

}  // namespace

char32_t byte_to_char(unsigned char byte) { return byte_map().to_char[byte]; }

int char_to_byte(char32_t c) { return c < 512 ? byte_map().to_byte[c] : -1; }

char32_t single_char(const Json& json, const std::string& where) {
  const std::string& text = json.as_string();
  if (text.empty() || !is_utf8(text) || char_size(text[0]) != text.size()) {
    fail(ErrorCode::kCorruptData, "tokenizer", "expected one character at " + where);
  }
  size_t at = 0;
  return next_char(text, at);
}

std::unique_ptr<PreTokenizer> make_pre_tokenizer(const Json& json, const std::string& where) {
  if (json.is_null()) return nullptr;
  std::string type = json.at("type").as_string();
  if (type == "BertPreTokenizer") return std::make_unique<Bert>();
  if (type == "Whitespace") return std::make_unique<Whitespace>();
  if (type == "WhitespaceSplit") return std::make_unique<ByClass<kSpaceChar>>(Delimiter::kRemoved);
  if (type == "ByteLevel") return std::make_unique<ByteLevel>(json);
  if (type == "Metaspace") return std::make_unique<Metaspace>(json, where);
  if (type == "Split") return std::make_unique<Split>(json, where);
  if (type == "Punctuation") {
    return std::make_unique<ByClass<kPunctuationChar>>(
        delimiter_of(json.get("behavior", "Isolated"), where));
  }
  if (type == "Digits") {
    bool single = json.get("individual_digits", false);
    return std::make_unique<ByClass<kNumericChar>>(single ? Delimiter::kIsolated
                                                          : Delimiter::kContiguous);
  }
  if (type == "CharDelimiterSplit")
    return std::make_unique<CharDelimiter>(single_char(json.at("delimiter"), where));
  if (type == "UnicodeScripts") return std::make_unique<UnicodeScripts>();
  if (type == "FixedLength") {
    int64_t length = json.get("length", 5);
    if (length < 1)
      fail(ErrorCode::kCorruptData, "tokenizer", "expected a length of at least 1 at " + where);
    return std::make_unique<FixedLength>(static_cast<size_t>(length));
  }
  if (type == "Sequence") return std::make_unique<Sequence>(json, where);
  fail(ErrorCode::kCorruptData, "tokenizer",
       "expected a pre-tokenizer that Plait has, got \"" + type + "\" at " + where);
}

}  // namespace plait::data
