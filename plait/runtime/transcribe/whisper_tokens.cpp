#include "plait/runtime/transcribe/whisper_tokens.h"

#include <algorithm>
#include <set>

#include "plait/core/error.h"
#include "plait/core/join.h"

namespace plait::runtime {
namespace {

constexpr const char* kUnit = "transcribe";
/// From this many words on, Whisper's vocabulary is the one with languages.
constexpr int64_t kMultilingualWords = 51865;
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

bool is_punctuation(const std::string& text) {
  return text.size() == 1 && std::string_view("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~").find(text[0]) !=
                                 std::string_view::npos;
}

std::string strip(const std::string& text) {
  const size_t first = text.find_first_not_of(" \t\n\r"), last = text.find_last_not_of(" \t\n\r");
  return first == std::string::npos ? "" : text.substr(first, last - first + 1);
}

}  // namespace

int64_t WhisperTokens::id_of(const char* token) const {
  const int64_t id = tokenizer_->id_of(token);
  if (id < 0 || id >= vocab_size_) {
    fail(ErrorCode::kInvalidArgument, kUnit,
         std::string("expected a tokenizer of Whisper, got one without ") + token);
  }
  return id;
}

WhisperTokens::WhisperTokens(std::shared_ptr<const data::Tokenizer> tokenizer, int64_t vocab_size,
                             const Json& generation)
    : tokenizer_(std::move(tokenizer)), vocab_size_(vocab_size) {
  end = id_of("<|endoftext|>");
  start = id_of("<|startoftranscript|>");
  translate = id_of("<|translate|>");
  transcribe = id_of("<|transcribe|>");
  previous = id_of("<|startofprev|>");
  no_timestamps = id_of("<|notimestamps|>");
  no_speech = id_of(tokenizer_->id_of("<|nospeech|>") >= 0 ? "<|nospeech|>" : "<|nocaptions|>");
  first_time = no_timestamps + 1;
  multilingual = generation.get("is_multilingual", vocab_size >= kMultilingualWords);
  if (first_time >= vocab_size || end >= start)
    fail(ErrorCode::kInvalidArgument, kUnit, "expected times at the end of the vocabulary");
  for (int64_t id = start + 1; id < translate; ++id) {
    const std::string name = tokenizer_->token_of(id);
    if (name.size() > 4) languages.emplace_back(name.substr(2, name.size() - 4), id);
  }
  special = {start, translate, transcribe, previous, no_speech, id_of("<|startoflm|>")};
  find_non_speech();
  blank = encode(" ");
  blank.push_back(end);
  if (const Json* heads = generation.find("alignment_heads"); heads && heads->is_array()) {
    for (const Json& pair : heads->items()) {
      const std::vector<int64_t> ids = pair.as_ints();
      require(ids.size() == 2, kUnit, "expected alignment_heads as pairs of layer and head");
      alignment_heads.emplace_back(ids[0], ids[1]);
    }
  }
}

/// What is written, not spoken: symbols that annotate. A hyphen or an apostrophe may stand within a
/// word, not before one. Notes may take several tokens, of which the first belongs to them alone.
void WhisperTokens::find_non_speech() {
  const std::vector<std::string> symbols = {
      "\"",  "#",  "(",  ")",   "*",   "+",   "/",   ":",  ";",   "<",  "=",  ">",
      "@",   "[",  "\\", "]",   "^",   "_",   "`",   "{",  "|",   "}",  "~",  "「",
      "」",  "『", "』", "<<",  ">>",  "<<<", ">>>", "--", "---", "-(", "-[", "('",
      "(\"", "((", "))", "(((", ")))", "[[",  "]]",  "{{", "}}",  "♪♪", "♪♪♪"};
  const std::vector<std::string> notes = {"♩", "♪", "♫", "♬", "♭", "♮", "♯"};
  std::set<int64_t> found = {encode(" -").front(), encode(" '").front()};
  auto add = [&](const std::string& symbol, bool first_of_many) {
    for (const std::string& text : {symbol, " " + symbol}) {
      const std::vector<int64_t> ids = encode(text);
      if (!ids.empty() && (ids.size() == 1 || first_of_many)) found.insert(ids.front());
    }
  };
  for (const std::string& symbol : symbols) add(symbol, false);
  for (const std::string& note : notes) add(note, true);
  non_speech.assign(found.begin(), found.end());
}

std::vector<int64_t> WhisperTokens::prompt(const std::string& language,
                                           const std::string& task) const {
  if (!multilingual) {
    require(language.empty() || language == "en", kUnit,
            "expected the language en: this model knows no other");
    require(task == "transcribe", kUnit, "expected the task transcribe: this model knows no other");
    return {start};
  }
  for (const auto& [code, id] : languages) {
    if (code == language) return {start, id, task == "translate" ? translate : transcribe};
  }
  std::vector<std::string> codes;
  for (const auto& [code, id] : languages) codes.push_back(code);
  fail(ErrorCode::kInvalidArgument, kUnit,
       "expected one of the languages " + join(codes) + ", got \"" + language.substr(0, 20) + "\"");
}

std::vector<int64_t> WhisperTokens::encode(const std::string& text) const {
  return tokenizer_->encode(text, {.add_special_tokens = false, .max_length = 0, .padding = false})
      .ids;
}

std::string WhisperTokens::decode(const std::vector<int64_t>& ids) const {
  std::vector<int64_t> text;
  for (int64_t id : ids) {
    if (id < end) text.push_back(id);
  }
  return tokenizer_->decode(text, /*skip_special=*/false);
}

std::vector<TokenizedWord> WhisperTokens::split_characters(const std::vector<int64_t>& ids) const {
  const std::string whole = decode(ids);
  std::vector<TokenizedWord> words;
  std::vector<int64_t> current;
  size_t offset = 0;
  for (int64_t id : ids) {
    current.push_back(id);
    const std::string text = decode(current);
    const size_t broken = text.find(kReplacement);
    // A replacement that the whole text has too is one that was written.
    if (broken != std::string::npos &&
        whole.compare(std::min(offset + broken, whole.size()), kReplacement.size(), kReplacement))
      continue;
    words.push_back({text, current});
    offset += text.size();
    current.clear();
  }
  if (!current.empty()) words.push_back({decode(current), current});
  return words;
}

std::vector<TokenizedWord> WhisperTokens::split_words(const std::vector<int64_t>& ids,
                                                      const std::string& language) const {
  static const std::set<std::string> kWithoutSpaces = {"zh", "ja", "th", "lo", "my", "yue"};
  std::vector<TokenizedWord> parts = split_characters(ids);
  if (kWithoutSpaces.count(language)) return parts;
  std::vector<TokenizedWord> words;
  for (TokenizedWord& part : parts) {
    const bool begins = words.empty() || part.tokens.front() >= end || part.text.starts_with(" ") ||
                        is_punctuation(strip(part.text)) || strip(part.text).empty();
    if (begins) {
      words.push_back(std::move(part));
    } else {
      words.back().text += part.text;
      words.back().tokens.insert(words.back().tokens.end(), part.tokens.begin(), part.tokens.end());
    }
  }
  return words;
}

}  // namespace plait::runtime
