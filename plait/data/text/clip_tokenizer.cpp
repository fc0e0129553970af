#include "plait/data/text/clip_tokenizer.h"

#include <algorithm>
#include <filesystem>
#include <string_view>

#include "plait/core/error.h"
#include "plait/core/file.h"
#include "plait/core/json.h"

namespace plait::data {
namespace {

namespace fs = std::filesystem;
constexpr const char* kUnit = "tokenizer";
constexpr const char* kStart = "<|startoftext|>";
constexpr const char* kEnd = "<|endoftext|>";
constexpr size_t kMaxFile = size_t{64} << 20;

int64_t id_in(const Json& vocab, const char* token, const std::string& where) {
  const Json* id = vocab.find(token);
  if (!id || !id->is_int() || id->as_int() < 0) {
    fail(ErrorCode::kCorruptData, kUnit,
         where + ": expected the token " + token + " in the vocabulary, got none");
  }
  return id->as_int();
}

Json special(int64_t id, const char* token) {
  return Json::object({{"id", id},
                       {"content", token},
                       {"single_word", false},
                       {"lstrip", false},
                       {"rstrip", false},
                       {"normalized", false},
                       {"special", true}});
}

Json merge_list(std::string_view lines) {
  Json::Array out;
  for (bool first = true; !lines.empty(); first = false) {
    const size_t end = std::min(lines.find('\n'), lines.size());
    std::string_view line = lines.substr(0, end);
    lines.remove_prefix(std::min(end + 1, lines.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || (first && line.starts_with("#version"))) continue;
    out.push_back(Json(line));
  }
  return Json(std::move(out));
}

/// A small JSON file of the folder; an empty object when there is none.
Json read_beside(const std::string& path) {
  std::error_code error;
  return fs::is_regular_file(path, error) ? Json::read(path, kMaxFile) : Json::object({});
}

/// The text of a special token, given plainly or as an object.
std::string token_text(const Json& config, const char* name) {
  const Json* given = config.find(name);
  if (!given || given->is_null()) return "";
  return given->is_object() ? given->get("content", "") : given->as_string();
}

}  // namespace

std::string clip_tokenizer_json(const std::string& vocab_text, const std::string& merges,
                                const std::string& where) {
  const Json vocab = Json::parse(vocab_text, where);
  if (!vocab.is_object())
    fail(ErrorCode::kCorruptData, kUnit, where + ": expected an object of tokens and ids");
  const int64_t start = id_in(vocab, kStart, where), end = id_in(vocab, kEnd, where);
  const auto regex = [](const char* pattern) { return Json::object({{"Regex", pattern}}); };
  const Json words = Json::object(
      {{"type", "Split"},
       {"pattern",
        regex(
            R"(<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+)")},
       {"behavior", "Removed"},
       {"invert", true}});
  const Json bytes = Json::object({{"type", "ByteLevel"},
                                   {"add_prefix_space", false},
                                   {"trim_offsets", true},
                                   {"use_regex", true}});
  const Json normalizers = Json::array(
      {Json::object({{"type", "NFC"}}),
       Json::object({{"type", "Replace"}, {"pattern", regex(R"(\s+)")}, {"content", " "}}),
       Json::object({{"type", "Lowercase"}})});
  Json root = Json::object(
      {{"version", "1.0"},
       {"truncation", Json()},
       {"padding", Json()},
       {"added_tokens", Json::array({special(start, kStart), special(end, kEnd)})},
       {"normalizer", Json::object({{"type", "Sequence"}, {"normalizers", normalizers}})},
       {"pre_tokenizer",
        Json::object({{"type", "Sequence"}, {"pretokenizers", Json::array({words, bytes})}})},
       {"post_processor", Json::object({{"type", "RobertaProcessing"},
                                        {"sep", Json::array({kEnd, end})},
                                        {"cls", Json::array({kStart, start})},
                                        {"trim_offsets", false},
                                        {"add_prefix_space", false}})},
       {"decoder", Json::object({{"type", "ByteLevel"}})},
       {"model", Json::object({{"type", "BPE"},
                               {"dropout", Json()},
                               {"unk_token", kEnd},
                               {"continuing_subword_prefix", ""},
                               {"end_of_word_suffix", "</w>"},
                               {"fuse_unk", false},
                               {"byte_fallback", false},
                               {"vocab", vocab},
                               {"merges", merge_list(merges)}})}});
  return root.dump();
}

std::shared_ptr<const PromptTokenizer> PromptTokenizer::load(const std::string& dir,
                                                             int64_t longest) {
  std::error_code error;
  auto made = std::shared_ptr<PromptTokenizer>(new PromptTokenizer());
  const std::string whole = dir + "/tokenizer.json", vocab = dir + "/vocab.json",
                    merges = dir + "/merges.txt";
  if (fs::is_regular_file(whole, error)) {
    made->tokenizer_ = Tokenizer::from_file(whole);
  } else if (fs::is_regular_file(vocab, error) && fs::is_regular_file(merges, error)) {
    made->tokenizer_ = Tokenizer::parse(
        clip_tokenizer_json(read_file(vocab, kMaxFile), read_file(merges, kMaxFile), vocab), dir);
  } else {
    fail(ErrorCode::kNotFound, kUnit,
         dir + ": expected tokenizer.json, or vocab.json and merges.txt, got neither");
  }
  const Json config = read_beside(dir + "/tokenizer_config.json");
  const Json special_tokens = read_beside(dir + "/special_tokens_map.json");
  // Without a limit the file says a number beyond all bounds.
  const Json* limit = config.find("model_max_length");
  const bool limited = limit && limit->is_int() && limit->as_int() >= 2;
  made->length_ = limited ? std::min(limit->as_int(), longest) : longest;
  require(made->length_ >= 2, kUnit, "expected prompts of at least two tokens");
  std::string pad = token_text(special_tokens, "pad_token");
  if (pad.empty()) pad = token_text(config, "pad_token");
  if (pad.empty()) pad = kEnd;
  made->pad_id_ = made->tokenizer_->id_of(pad);
  if (made->pad_id_ < 0) {
    fail(ErrorCode::kCorruptData, kUnit,
         dir + ": expected the padding token in the vocabulary, got none of that name");
  }
  return made;
}

std::vector<int64_t> PromptTokenizer::row(const std::string& text) const {
  std::vector<int64_t> ids =
      tokenizer_
          ->encode(text, {.add_special_tokens = true, .max_length = length_, .padding = false})
          .ids;
  ids.resize(static_cast<size_t>(length_), pad_id_);
  return ids;
}

}  // namespace plait::data
