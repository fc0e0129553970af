#include "plait/data/text/tokenizer.h"

#include <sys/stat.h>

#include <algorithm>

#include "plait/core/error.h"
#include "plait/core/file.h"
#include "plait/core/json.h"
#include "plait/data/text/added_tokens.h"
#include "plait/data/text/post_processors.h"
#include "plait/data/text/pre_tokenizers.h"
#include "plait/data/text/token_decoders.h"
#include "plait/data/text/token_model.h"

namespace plait::data {
namespace {

constexpr size_t kMaxFile = size_t{256} << 20;
constexpr size_t kMaxPadding = size_t{1} << 24;

struct Truncation {
  int64_t max_length = 0;
  std::string strategy;
  bool left = false;
};

struct Padding {
  int64_t fixed = 0;  // 0: the longest of a batch, so nothing to do for one text
  int64_t multiple = 0;
  int64_t id = 0;
  int64_t type_id = 0;
  bool left = false;
};

/// Runs f; an error about JSON gets the place in front.
template <class F>
auto within(const std::string& where, F f) {
  try {
    return f();
  } catch (const Error& error) {
    std::string message = error.what();
    if (message.find(where) != std::string::npos) throw;
    fail(error.code(), "tokenizer", "in " + where + ": " + message);
  }
}

void keep_range(Encoding& encoding, size_t length, bool left) {
  if (encoding.size() <= length) return;
  auto cut = [&](auto& items) {
    if (left) {
      items.erase(items.begin(), items.end() - static_cast<std::ptrdiff_t>(length));
    } else {
      items.resize(length);
    }
  };
  cut(encoding.ids);
  cut(encoding.type_ids);
  cut(encoding.offsets);
  cut(encoding.special_mask);
  cut(encoding.attention_mask);
}

void truncate(std::vector<Encoding>& texts, size_t max_length, const Truncation& how) {
  size_t total = 0;
  for (const Encoding& text : texts) total += text.size();
  if (total <= max_length) return;
  size_t surplus = total - max_length;
  if (max_length == 0) {
    for (Encoding& text : texts) keep_range(text, 0, how.left);
  } else if (how.strategy == "LongestFirst") {
    if (texts.size() == 1) return keep_range(texts[0], max_length, how.left);
    bool swapped = texts[0].size() > texts[1].size();
    size_t shorter = std::min(texts[0].size(), texts[1].size());
    size_t longer = shorter > max_length ? shorter : std::max(shorter, max_length - shorter);
    if (shorter + longer > max_length) {
      shorter = max_length / 2;
      longer = shorter + max_length % 2;
    }
    keep_range(texts[0], swapped ? longer : shorter, how.left);
    keep_range(texts[1], swapped ? shorter : longer, how.left);
  } else {
    size_t which = how.strategy == "OnlyFirst" ? 0 : 1;
    if (which >= texts.size() || texts[which].size() <= surplus) {
      fail(ErrorCode::kInvalidArgument, "tokenizer",
           "expected a text that can be truncated by strategy " + how.strategy);
    }
    keep_range(texts[which], texts[which].size() - surplus, how.left);
  }
}

void pad(Encoding& encoding, const Padding& padding) {
  auto target = static_cast<size_t>(padding.fixed > 0 ? padding.fixed
                                                      : static_cast<int64_t>(encoding.size()));
  auto multiple = static_cast<size_t>(padding.multiple);
  if (multiple > 0 && target % multiple > 0) target += multiple - target % multiple;
  if (encoding.size() >= target) return;
  Encoding fill;
  for (size_t n = encoding.size(); n < target; ++n)
    append_token(fill, padding.id, padding.type_id, {0, 0}, true);
  std::fill(fill.attention_mask.begin(), fill.attention_mask.end(), 0);
  if (padding.left) {
    append_encoding(fill, encoding);
    encoding = std::move(fill);
  } else {
    append_encoding(encoding, fill);
  }
}

/// Takes white space off a token's offsets, as byte-level post-processors do: one character of
/// `text` for each.
void trim_offset(std::string_view text, std::string_view token, bool first, bool prefix_space,
                 std::pair<uint32_t, uint32_t>& offset) {
  const CharClasses& classes = CharClasses::instance();
  auto blank = [&](char32_t c) { return c == 0x120 || classes.is(c, kSpaceChar); };
  uint32_t leading = 0, trailing = 0;
  for (size_t at = 0; at < token.size(); ++leading) {
    if (!blank(next_char(token, at))) break;
  }
  for (size_t at = 0; at < token.size();) trailing = blank(next_char(token, at)) ? trailing + 1 : 0;
  if (leading > 0) {
    if ((first || offset.first == 0) && prefix_space && leading == 1) leading = 0;
    for (; leading > 0 && offset.first < offset.second; --leading) {
      offset.first += static_cast<uint32_t>(char_size(text[offset.first]));
    }
  }
  for (; trailing > 0 && offset.second > offset.first; --trailing) {
    do {
      --offset.second;
    } while ((text[offset.second] & 0xC0) == 0x80);
  }
}

}  // namespace

struct Tokenizer::Impl {
  std::string json;
  std::unique_ptr<TextNormalizer> normalizer;
  std::unique_ptr<PreTokenizer> pre_tokenizer;
  std::unique_ptr<TokenModel> model;
  std::unique_ptr<PostProcessor> post_processor;
  std::unique_ptr<TokenDecoder> decoder;
  AddedTokens added;
  std::vector<bool> trims;
  std::optional<Truncation> truncation;
  std::optional<Padding> padding;

  /// Added tokens out, normalise what is left, added tokens again, then smaller pieces.
  Pieces split(std::string_view text) const {
    std::vector<Piece> rough;
    added.split(text, false, rough);
    Pieces pieces;
    for (const Piece& part : rough) {
      AlignedText piece{.bytes = std::string(text.substr(part.begin, part.end - part.begin)),
                        .origin = {},
                        .shift = part.begin};
      auto shift = static_cast<uint32_t>(pieces.text.bytes.size());
      if (part.token < 0 && normalizer) normalizer->apply(piece);
      if (part.token >= 0) {
        pieces.list.push_back(
            {shift, shift + static_cast<uint32_t>(piece.bytes.size()), part.token});
      } else {
        size_t first = pieces.list.size();
        added.split(piece.bytes, true, pieces.list);
        for (size_t i = first; i < pieces.list.size(); ++i) {
          pieces.list[i].begin += shift;
          pieces.list[i].end += shift;
        }
      }
      if (rough.size() == 1) {
        pieces.text = std::move(piece);
      } else {
        pieces.text.append(piece);
      }
    }
    if (pre_tokenizer) pre_tokenizer->apply(pieces);
    return pieces;
  }

  Encoding encode_one(std::string_view text, int64_t type_id) const {
    if (text.size() > kMaxText) {
      fail(ErrorCode::kResourceLimit, "tokenizer",
           "expected a text of at most " + std::to_string(kMaxText) + " bytes, got " +
               std::to_string(text.size()));
    }
    std::string fixed;
    if (!is_utf8(text)) {
      fixed = to_valid_utf8(text);
      text = fixed;
    }
    Pieces pieces = split(text);
    Encoding out;
    std::vector<Token> tokens;
    for (const Piece& piece : pieces.list) {
      tokens.clear();
      std::string_view view = pieces.view(piece);
      if (piece.token >= 0) {
        tokens.push_back({static_cast<uint32_t>(piece.token), 0, piece.end - piece.begin});
      } else {
        model->tokenize(view, tokens);
      }
      for (const Token& token : tokens) {
        std::pair<uint32_t, uint32_t> offset{0, 0};
        if (token.end > token.begin && token.end <= view.size()) {
          Span origin = pieces.text.origin_of(piece.begin + token.begin, piece.begin + token.end);
          offset = {origin.begin, origin.end};
        }
        for (bool prefix_space : trims) {
          trim_offset(
              text,
              view.substr(std::min<size_t>(token.begin, view.size()), token.end - token.begin),
              out.ids.empty(), prefix_space, offset);
        }
        append_token(out, token.id, type_id, offset, false);
      }
    }
    return out;
  }

  Encoding finish(std::vector<Encoding> texts, const EncodeOptions& options) const {
    bool pair = texts.size() == 2;
    Truncation how =
        truncation.value_or(Truncation{.max_length = 0, .strategy = "LongestFirst", .left = false});
    bool limited = truncation.has_value();
    if (options.max_length) {
      how.max_length = *options.max_length;
      limited = how.max_length > 0;
    }
    if (limited) {
      auto special = static_cast<int64_t>(
          options.add_special_tokens && post_processor ? post_processor->added(pair) : 0);
      if (how.max_length < special) {
        fail(ErrorCode::kInvalidArgument, "tokenizer",
             "expected a max_length of at least " + std::to_string(special) +
                 " (the special tokens), got " + std::to_string(how.max_length));
      }
      truncate(texts, static_cast<size_t>(how.max_length - special), how);
    }
    if (post_processor)
      texts = post_processor->process(std::move(texts), options.add_special_tokens);
    Encoding out = std::move(texts[0]);
    for (size_t i = 1; i < texts.size(); ++i) append_encoding(out, texts[i]);
    if (padding && options.padding) pad(out, *padding);
    return out;
  }

  void read_settings(const Json& root, const std::string& name) {
    if (const Json* t = root.find("truncation"); t && !t->is_null()) {
      truncation = Truncation{.max_length = t->at("max_length").as_int(),
                              .strategy = t->get("strategy", "LongestFirst"),
                              .left = t->get("direction", "Right") == "Left"};
      const std::string& s = truncation->strategy;
      if (truncation->max_length < 0 ||
          (s != "LongestFirst" && s != "OnlyFirst" && s != "OnlySecond")) {
        fail(ErrorCode::kCorruptData, "tokenizer",
             "expected a known strategy and a length in " + name + ":truncation");
      }
    }
    if (const Json* p = root.find("padding"); p && !p->is_null()) {
      const Json& strategy = p->at("strategy");
      padding = Padding{.fixed = strategy.is_object() ? strategy.at("Fixed").as_int() : 0,
                        .multiple = p->get("pad_to_multiple_of", 0),
                        .id = p->get("pad_id", 0),
                        .type_id = p->get("pad_type_id", 0),
                        .left = p->get("direction", "Right") == "Left"};
      auto limit = static_cast<int64_t>(kMaxPadding);
      if (padding->fixed < 0 || padding->fixed > limit || padding->multiple < 0 ||
          padding->multiple > limit) {
        fail(ErrorCode::kCorruptData, "tokenizer",
             "expected a padding of at most 16777216 tokens in " + name + ":padding");
      }
    }
  }
};

Tokenizer::Tokenizer(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;

std::shared_ptr<const Tokenizer> Tokenizer::parse(std::string json, const std::string& name) {
  auto impl = std::make_unique<Impl>();
  Json root = Json::parse(json, name);
  if (!root.is_object())
    fail(ErrorCode::kCorruptData, "tokenizer", "expected an object in " + name);
  impl->json = std::move(json);
  const Json none;
  auto member = [&](const char* key) -> const Json& {
    return root.contains(key) ? root.at(key) : none;
  };
  auto make = [&](const char* key, auto maker) {
    std::string where = name + ":" + key;
    return within(where, [&] { return maker(member(key), where); });
  };
  if (!root.contains("model"))
    fail(ErrorCode::kCorruptData, "tokenizer", "expected a member \"model\" in " + name);
  impl->model = make("model", make_token_model);
  impl->normalizer = make("normalizer", make_normalizer);
  impl->pre_tokenizer = make("pre_tokenizer", make_pre_tokenizer);
  impl->post_processor = make("post_processor", make_post_processor);
  impl->decoder = make("decoder", make_token_decoder);
  within(name, [&] { impl->read_settings(root, name); });
  if (root.contains("added_tokens") && !root.at("added_tokens").is_null()) {
    impl->added = make("added_tokens", [&](const Json& tokens, const std::string& where) {
      return AddedTokens(tokens, impl->model->vocab(), impl->normalizer.get(), where);
    });
  }
  if (impl->post_processor) impl->post_processor->trims(impl->trims);
  return std::shared_ptr<const Tokenizer>(new Tokenizer(std::move(impl)));
}

std::shared_ptr<const Tokenizer> Tokenizer::from_file(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) {
    std::string json = path + "/tokenizer.json", lines = path + "/vocab.txt",
                config = path + "/tokenizer_config.json";
    if (::stat(json.c_str(), &info) == 0 || ::stat(lines.c_str(), &info) != 0)
      return from_file(json);
    bool lower =
        ::stat(config.c_str(), &info) != 0 || Json::read(config).get("do_lower_case", true);
    return from_vocab(read_file(lines, kMaxFile), lower, lines);
  }
  std::string text = read_file(path, kMaxFile);
  if (path.ends_with(".txt")) return from_vocab(text, true, path);
  return parse(std::move(text), path);
}

std::shared_ptr<const Tokenizer> Tokenizer::from_vocab(std::string_view lines, bool lower_case,
                                                       const std::string& name) {
  if (!is_utf8(lines)) fail(ErrorCode::kCorruptData, "tokenizer", "expected UTF-8 in " + name);
  Json::Object vocab;
  Json::Array special;
  int64_t cls = -1, sep = -1;
  const CharClasses& classes = CharClasses::instance();
  for (int64_t id = 0; !lines.empty(); ++id) {
    size_t end = std::min(lines.find('\n'), lines.size());
    std::string token(lines.substr(0, end));
    lines.remove_prefix(std::min(end + 1, lines.size()));
    while (!token.empty() && classes.is(static_cast<unsigned char>(token.back()), kSpaceChar))
      token.pop_back();
    if (token == "[CLS]") cls = id;
    if (token == "[SEP]") sep = id;
    if (token == "[PAD]" || token == "[UNK]" || token == "[CLS]" || token == "[SEP]" ||
        token == "[MASK]") {
      special.push_back(Json::object({{"id", id},
                                      {"content", token},
                                      {"single_word", false},
                                      {"lstrip", false},
                                      {"rstrip", false},
                                      {"normalized", false},
                                      {"special", true}}));
    }
    vocab.emplace_back(std::move(token), id);
  }
  if (cls < 0 || sep < 0)
    fail(ErrorCode::kCorruptData, "tokenizer", "expected [CLS] and [SEP] in " + name);
  Json root = Json::object(
      {{"version", "1.0"},
       {"truncation", Json()},
       {"padding", Json()},
       {"added_tokens", special},
       {"normalizer", Json::object({{"type", "BertNormalizer"},
                                    {"clean_text", true},
                                    {"handle_chinese_chars", true},
                                    {"strip_accents", Json()},
                                    {"lowercase", lower_case}})},
       {"pre_tokenizer", Json::object({{"type", "BertPreTokenizer"}})},
       {"post_processor", Json::object({{"type", "BertProcessing"},
                                        {"sep", Json::array({"[SEP]", sep})},
                                        {"cls", Json::array({"[CLS]", cls})}})},
       {"decoder", Json::object({{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}})},
       {"model", Json::object({{"type", "WordPiece"},
                               {"unk_token", "[UNK]"},
                               {"continuing_subword_prefix", "##"},
                               {"max_input_chars_per_word", 100},
                               {"vocab", std::move(vocab)}})}});
  return parse(root.dump(2), name);
}

Encoding Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  std::vector<Encoding> texts;
  texts.push_back(impl_->encode_one(text, 0));
  return impl_->finish(std::move(texts), options);
}

Encoding Tokenizer::encode_pair(std::string_view first, std::string_view second,
                                const EncodeOptions& options) const {
  std::vector<Encoding> texts;
  texts.push_back(impl_->encode_one(first, 0));
  texts.push_back(impl_->encode_one(second, 1));
  return impl_->finish(std::move(texts), options);
}

std::string Tokenizer::decode(const std::vector<int64_t>& ids, bool skip_special) const {
  std::vector<std::string> tokens;
  const Vocab& vocab = impl_->model->vocab();
  for (int64_t id : ids) {
    const std::string* added = impl_->added.token(id);
    if (!added && (id < 0 || id > UINT32_MAX || !vocab.contains(static_cast<uint32_t>(id))))
      continue;
    std::string token = added ? *added : std::string(vocab.token(static_cast<uint32_t>(id)));
    if (!skip_special || !impl_->added.is_special(token)) tokens.push_back(std::move(token));
  }
  if (impl_->decoder) impl_->decoder->apply(tokens);
  std::string out;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (i > 0 && !impl_->decoder) out += ' ';
    out += tokens[i];
  }
  return out;
}

int64_t Tokenizer::id_of(std::string_view token) const {
  int64_t id = impl_->added.find(token);
  return id >= 0 ? id : impl_->model->vocab().find(token);
}

std::string Tokenizer::token_of(int64_t id) const {
  if (const std::string* added = impl_->added.token(id)) return *added;
  const Vocab& vocab = impl_->model->vocab();
  if (id < 0 || id > UINT32_MAX || !vocab.contains(static_cast<uint32_t>(id))) {
    fail(ErrorCode::kInvalidArgument, "tokenizer",
         "expected an id of the vocabulary, got " + std::to_string(id));
  }
  return std::string(vocab.token(static_cast<uint32_t>(id)));
}

int64_t Tokenizer::vocab_size() const {
  return static_cast<int64_t>(impl_->model->vocab().size()) + impl_->added.extra();
}

int64_t Tokenizer::pad_id() const {
  if (impl_->padding) return impl_->padding->id;
  for (const char* token : {"[PAD]", "<pad>", "<|pad|>", "<|endoftext|>", "</s>"}) {
    if (int64_t id = id_of(token); id >= 0) return id;
  }
  return 0;
}

std::optional<int64_t> Tokenizer::max_length() const {
  if (!impl_->truncation) return std::nullopt;
  return impl_->truncation->max_length;
}

const std::string& Tokenizer::json() const { return impl_->json; }

}  // namespace plait::data
