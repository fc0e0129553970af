#include "plait/data/text/token_decoders.h"

#include <algorithm>

#include "plait/core/error.h"
#include "plait/data/text/pre_tokenizers.h"
#include "plait/data/text/regex.h"

namespace plait::data {
namespace {

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  if (from.empty() || text.find(from) == std::string::npos) return;
  std::string out;
  size_t done = 0;
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, done)) {
    out.append(text, done, at - done);
    out += to;
    done = at + from.size();
  }
  out.append(text, done);
  text = std::move(out);
}

/// English spacing as BERT's tokenizers restore it.
void clean_up(std::string& text) {
  constexpr std::pair<const char*, const char*> kRules[] = {
      {" .", "."},   {" ?", "?"},     {" !", "!"},    {" ,", ","},
      {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},  {" do not", " don't"},
      {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [from, to] : kRules) replace_all(text, from, to);
}

class WordPiece : public TokenDecoder {
 public:
  explicit WordPiece(const Json& json)
      : prefix_(json.get("prefix", "##")), clean_up_(json.get("cleanup", true)) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (i > 0)
        tokens[i] =
            tokens[i].starts_with(prefix_) ? tokens[i].substr(prefix_.size()) : " " + tokens[i];
      if (clean_up_) clean_up(tokens[i]);
    }
  }

 private:
  std::string prefix_;
  bool clean_up_;
};

class ByteLevel : public TokenDecoder {
 public:
  void apply(std::vector<std::string>& tokens) const override {
    std::string bytes;
    for (const std::string& token : tokens) {
      size_t before = bytes.size();
      for (size_t at = 0; at < token.size();) {
        int byte = char_to_byte(next_char(token, at));
        if (byte < 0) {
          bytes.resize(before);
          bytes += token;
          break;
        }
        bytes += static_cast<char>(byte);
      }
    }
    tokens.assign(1, to_valid_utf8(bytes));
  }
};

class Metaspace : public TokenDecoder {
 public:
  Metaspace(const Json& json, const std::string& where) {
    append_utf8(mark_, single_char(json.at("replacement"), where + ".replacement"));
    drop_first_ =
        json.get("add_prefix_space", true) && json.get("prepend_scheme", "always") != "never";
  }
  void apply(std::vector<std::string>& tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i)
      replace_all(tokens[i], mark_, i == 0 && drop_first_ ? "" : " ");
  }

 private:
  std::string mark_;
  bool drop_first_;
};

class Bpe : public TokenDecoder {
 public:
  explicit Bpe(const Json& json) : suffix_(json.get("suffix", "</w>")) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i)
      replace_all(tokens[i], suffix_, i + 1 == tokens.size() ? "" : " ");
  }

 private:
  std::string suffix_;
};

class ByteFallback : public TokenDecoder {
 public:
  void apply(std::vector<std::string>& tokens) const override {
    std::vector<std::string> out;
    std::string bytes;
    auto flush = [&] {
      if (is_utf8(bytes)) {
        if (!bytes.empty()) out.push_back(bytes);
      } else {
        out.insert(out.end(), bytes.size(), "\xEF\xBF\xBD");
      }
      bytes.clear();
    };
    for (std::string& token : tokens) {
      if (int byte = byte_of(token); byte >= 0) {
        bytes += static_cast<char>(byte);
      } else {
        flush();
        out.push_back(std::move(token));
      }
    }
    flush();
    tokens = std::move(out);
  }

 private:
  static int byte_of(const std::string& token) {
    if (token.size() != 6 || !token.starts_with("<0x") || token.back() != '>') return -1;
    int value = 0;
    for (size_t i = 3; i < 5; ++i) {
      char c = token[i];
      int digit = c >= '0' && c <= '9'   ? c - '0'
                  : c >= 'A' && c <= 'F' ? c - 'A' + 10
                  : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                         : -1;
      if (digit < 0) return -1;
      value = value * 16 + digit;
    }
    return value;
  }
};

class Fuse : public TokenDecoder {
 public:
  void apply(std::vector<std::string>& tokens) const override {
    std::string joined;
    for (const std::string& token : tokens) joined += token;
    tokens.assign(1, joined);
  }
};

/// At most `start` and `stop` times a character off the ends.
class Strip : public TokenDecoder {
 public:
  Strip(const Json& json, const std::string& where)
      : start_(json.at("start").as_int()), stop_(json.at("stop").as_int()) {
    append_utf8(content_, single_char(json.at("content"), where + ".content"));
  }
  void apply(std::vector<std::string>& tokens) const override {
    for (std::string& token : tokens) {
      size_t begin = 0, end = token.size();
      for (int64_t n = 0; n < start_ && std::string_view(token).substr(begin).starts_with(content_);
           ++n)
        begin += content_.size();
      for (int64_t n = 0; n < stop_ && end >= begin + content_.size() &&
                          std::string_view(token).substr(0, end).ends_with(content_);
           ++n) {
        end -= content_.size();
      }
      token = token.substr(begin, end - begin);
    }
  }

 private:
  std::string content_;
  int64_t start_, stop_;
};

class Replace : public TokenDecoder {
 public:
  Replace(const Json& json, const std::string& where) : content_(json.at("content").as_string()) {
    const Json& pattern = json.at("pattern");
    regex_ = pattern.contains("Regex")
                 ? Regex::compile(pattern.at("Regex").as_string(), where + ".pattern")
                 : Regex::literal(pattern.at("String").as_string());
  }
  void apply(std::vector<std::string>& tokens) const override {
    std::vector<Span> matches;
    for (std::string& token : tokens) {
      matches.clear();
      regex_->find_all(token, matches);
      std::string out;
      size_t done = 0;
      for (const Span& match : matches) {
        out.append(token, done, match.begin - done);
        out += content_;
        done = match.end;
      }
      out.append(token, done);
      token = std::move(out);
    }
  }

 private:
  std::string content_;
  std::shared_ptr<const Regex> regex_;
};

/// Connectionist temporal classification: repeats and blanks go.
class Ctc : public TokenDecoder {
 public:
  explicit Ctc(const Json& json)
      : pad_(json.get("pad_token", "<pad>")),
        delimiter_(json.get("word_delimiter_token", "|")),
        clean_up_(json.get("cleanup", true)) {}
  void apply(std::vector<std::string>& tokens) const override {
    tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
    for (std::string& token : tokens) {
      replace_all(token, pad_, "");
      if (!clean_up_) continue;
      clean_up(token);
      replace_all(token, delimiter_, " ");
    }
    std::erase(tokens, "");
  }

 private:
  std::string pad_, delimiter_;
  bool clean_up_;
};

class Sequence : public TokenDecoder {
 public:
  Sequence(const Json& json, const std::string& where) {
    const Json::Array& items = json.at("decoders").items();
    for (size_t i = 0; i < items.size(); ++i) {
      if (auto part =
              make_token_decoder(items[i], where + ".decoders[" + std::to_string(i) + "]")) {
        parts_.push_back(std::move(part));
      }
    }
  }
  void apply(std::vector<std::string>& tokens) const override {
    for (const auto& part : parts_) part->apply(tokens);
  }

 private:
  std::vector<std::unique_ptr<TokenDecoder>> parts_;
};

}  // namespace

std::unique_ptr<TokenDecoder> make_token_decoder(const Json& json, const std::string& where) {
  if (json.is_null()) return nullptr;
  std::string type = json.at("type").as_string();
  if (type == "WordPiece") return std::make_unique<WordPiece>(json);
  if (type == "ByteLevel") return std::make_unique<ByteLevel>();
  if (type == "Metaspace") return std::make_unique<Metaspace>(json, where);
  if (type == "BPEDecoder") return std::make_unique<Bpe>(json);
  if (type == "ByteFallback") return std::make_unique<ByteFallback>();
  if (type == "Fuse") return std::make_unique<Fuse>();
  if (type == "Strip") return std::make_unique<Strip>(json, where);
  if (type == "Replace") return std::make_unique<Replace>(json, where);
  if (type == "CTC") return std::make_unique<Ctc>(json);
  if (type == "Sequence") return std::make_unique<Sequence>(json, where);
  fail(ErrorCode::kCorruptData, "tokenizer",
       "expected a decoder that Plait has, got \"" + type + "\" at " + where);
}

}  // namespace plait::data
