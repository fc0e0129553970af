#include "plait/data/text/gguf_tokenizer.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string_view>
#include <tuple>
#include <unordered_map>

#include "plait/core/error.h"

namespace plait::data {
namespace {

constexpr const char* kPrefix = "tokenizer.ggml.";
/// SentencePiece's mark for a space.
constexpr const char* kMark = "\u2581";

enum TokenType : int64_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4 };

[[noreturn]] void bad(const std::string& what) { fail(ErrorCode::kCorruptData, "gguf", what); }

const Json& at(const Json& metadata, const std::string& key) {
  const Json* found = metadata.find(kPrefix + key);
  if (found) return *found;
  bad("expected metadata \"" + (kPrefix + key) + "\", got none");
}

const Json::Array& array(const Json& metadata, const std::string& key) {
  const Json& value = at(metadata, key);
  if (!value.is_array()) bad("expected an array as metadata \"" + (kPrefix + key) + "\"");
  return value.items();
}

const std::string& text(const Json& value, const std::string& key) {
  if (!value.is_string()) bad("expected texts in metadata \"" + (kPrefix + key) + "\"");
  return value.as_string();
}

/// What the regular expressions of llama.cpp's pre-tokenizers stand for in a tokenizer.json.
struct PreTokenizerKind {
  std::vector<std::string_view> names;
  /// Splits before the byte level; empty: GPT-2's own expression.
  std::vector<Json> splits;
  bool gpt2 = false;           ///< The byte level splits by GPT-2's expression too.
  bool ignore_merges = false;  ///< A piece that is a token is taken whole.
  bool compose = false;        ///< NFC first.
  bool bos = false;            ///< The beginning is added unless the file says otherwise.
};

Json isolated(const char* regex) {
  return Json::object({{"type", "Split"},
                       {"pattern", Json::object({{"Regex", regex}})},
                       {"behavior", "Isolated"},
                       {"invert", false}});
}

const std::vector<PreTokenizerKind>& kinds() {
  static const Json kDigits = Json::object({{"type", "Digits"}, {"individual_digits", true}});
  static const Json kLlama3 = isolated(
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)");
  static const Json kQwen2 = isolated(
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)");
  static const std::vector<Json> kDefault = {
      isolated(R"([\p{P}\$\+<=>\^~\|]+)"),
      isolated(R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))"),
      isolated(R"(\p{N}+)"), isolated(R"([0-9][0-9][0-9])")};
  static const std::vector<PreTokenizerKind> kKinds = {
      {.names = {"gpt-2", "phi-2", "mpt", "olmo"}, .splits = {}, .gpt2 = true},
      {.names = {"smollm", "starcoder", "refact", "command-r", "codeshell"},
       .splits = {kDigits},
       .gpt2 = true},
      {.names = {"llama-bpe", "llama3", "llama-v3"},
       .splits = {kLlama3},
       .ignore_merges = true,
       .bos = true},
      {.names = {"smaug-bpe", "dbrx"}, .splits = {kLlama3}},
      {.names = {"qwen2", "deepseek-r1-qwen", "stablelm2"}, .splits = {kQwen2}, .compose = true},
      {.names = {"default"}, .splits = kDefault},
  };
  return kKinds;
}

const PreTokenizerKind& kind_of(const std::string& name) {
  std::string known;
  for (const PreTokenizerKind& kind : kinds()) {
    for (std::string_view n : kind.names) {
      if (n == name) return kind;
      known += (known.empty() ? "" : ", ") + std::string(n);
    }
  }
  fail(ErrorCode::kUnavailable, "gguf",
       "expected a pre-tokenizer that Plait has (" + known + "), got \"" + name.substr(0, 40) +
           "\"");
}

Json sequence(const char* type, const char* member, std::vector<Json> items) {
  return Json::object({{"type", type}, {member, Json(Json::Array(items.begin(), items.end()))}});
}

Json byte_level(bool regex) {
  return Json::object({{"type", "ByteLevel"},
                       {"add_prefix_space", false},
                       {"trim_offsets", true},
                       {"use_regex", regex}});
}

Json replace(const char* from, const char* to) {
  return Json::object(
      {{"type", "Replace"}, {"pattern", Json::object({{"String", from}})}, {"content", to}});
}

class Converter {
 public:
  explicit Converter(const Json& metadata)
      : metadata_(metadata), tokens_(array(metadata, "tokens")) {
    ids_.reserve(tokens_.size());
    for (size_t i = 0; i < tokens_.size(); ++i) {
      if (!ids_.emplace(text(tokens_[i], "tokens"), i).second)
        bad("token " + std::to_string(i) + " appears twice");
    }
    const Json* types = metadata.find(std::string(kPrefix) + "token_type");
    if (!types) return;
    if (!types->is_array() || types->size() != tokens_.size())
      bad("expected as many token types as tokens");
    for (const Json& type : types->items()) {
      if (!type.is_int()) bad("expected numbers as token types");
      types_.push_back(type.as_int());
    }
  }

  Json run() {
    const std::string& model = text(at(metadata_, "model"), "model");
    if (model == "gpt2") {
      byte_level_bpe();
    } else if (model == "llama") {
      sentence_piece_bpe();
    } else {
      fail(ErrorCode::kUnavailable, "gguf",
           "expected a tokenizer of kind gpt2 or llama, got \"" + model.substr(0, 40) + "\"");
    }
    return Json::object({{"version", "1.0"},
                         {"truncation", nullptr},
                         {"padding", nullptr},
                         {"added_tokens", added_tokens()},
                         {"normalizer", normalizer_},
                         {"pre_tokenizer", pre_tokenizer_},
                         {"post_processor", template_of()},
                         {"decoder", decoder_},
                         {"model", model_}});
  }

 private:
  /// The token of a special role ("bos", "eos" …), if the file names one.
  std::optional<int64_t> special(const std::string& role) const {
    const Json* id = metadata_.find(kPrefix + role + "_token_id");
    if (!id) return std::nullopt;
    if (!id->is_int() || id->as_int() < 0 || id->as_int() >= static_cast<int64_t>(tokens_.size()))
      bad("expected a token's number as metadata \"" + (kPrefix + role) + "_token_id\"");
    return id->as_int();
  }

  bool flag(const std::string& name, bool fallback) const {
    const Json* value = metadata_.find(kPrefix + name);
    if (!value) return fallback;
    if (!value->is_bool()) bad("expected a boolean as metadata \"" + (kPrefix + name) + "\"");
    return value->as_bool();
  }

  Json vocab() const {
    Json::Object out;
    out.reserve(tokens_.size());
    for (size_t i = 0; i < tokens_.size(); ++i) out.emplace_back(tokens_[i].as_string(), i);
    return Json(std::move(out));
  }

  void set_model(Json merges, Json unknown, bool bytes, bool ignore_merges) {
    model_ = Json::object({{"type", "BPE"},
                           {"dropout", nullptr},
                           {"unk_token", std::move(unknown)},
                           {"continuing_subword_prefix", nullptr},
                           {"end_of_word_suffix", nullptr},
                           {"fuse_unk", bytes},
                           {"byte_fallback", bytes},
                           {"ignore_merges", ignore_merges},
                           {"vocab", vocab()},
                           {"merges", std::move(merges)}});
  }

  void byte_level_bpe() {
    const Json* pre = metadata_.find(std::string(kPrefix) + "pre");
    const PreTokenizerKind& kind = kind_of(pre ? text(*pre, "pre") : "default");
    Json::Array merges;
    for (const Json& item : array(metadata_, "merges")) {
      const std::string& merge = text(item, "merges");
      size_t space = merge.find(' ', 1);  // the first part is never empty
      if (space == std::string::npos || space + 1 == merge.size())
        bad("expected two tokens in merge " + std::to_string(merges.size()));
      merges.push_back(Json::array({merge.substr(0, space), merge.substr(space + 1)}));
    }
    std::vector<Json> steps = kind.splits;
    steps.push_back(byte_level(kind.gpt2));
    pre_tokenizer_ = sequence("Sequence", "pretokenizers", std::move(steps));
    if (kind.compose) normalizer_ = Json::object({{"type", "NFC"}});
    decoder_ = byte_level(true);
    bos_by_default_ = kind.bos;
    set_model(Json(std::move(merges)), nullptr, false, kind.ignore_merges);
  }

  void sentence_piece_bpe() {
    std::vector<Json> normalizers;
    bool prefix = flag("add_space_prefix", true);
    if (prefix) normalizers.push_back(Json::object({{"type", "Prepend"}, {"prepend", kMark}}));
    normalizers.push_back(replace(" ", kMark));
    normalizer_ = sequence("Sequence", "normalizers", std::move(normalizers));
    std::vector<Json> decoders = {replace(kMark, " "), Json::object({{"type", "ByteFallback"}}),
                                  Json::object({{"type", "Fuse"}})};
    if (prefix) {
      decoders.push_back(
          Json::object({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}));
    }
    decoder_ = sequence("Sequence", "decoders", std::move(decoders));
    bos_by_default_ = true;
    auto unknown = special("unknown");
    set_model(merges_by_score(), unknown ? tokens_[*unknown] : Json(nullptr), true, false);
  }

  /// SentencePiece joins the two neighbours whose joint has the best score; as a list of merges:
  /// every way to cut a token into two tokens, by score and then the lengths of the halves.
  Json merges_by_score() const {
    const Json::Array& scores = array(metadata_, "scores");
    if (scores.size() != tokens_.size()) bad("expected as many scores as tokens");
    struct Merge {
      double score;
      size_t left_size, right_size, left, right, left_bytes, token;
    };
    std::vector<Merge> merges;
    for (size_t t = 0; t < tokens_.size(); ++t) {
      if (!scores[t].is_number() || !std::isfinite(scores[t].as_double()))
        bad("expected finite numbers as scores");
      if (!types_.empty() && types_[t] != kNormal && types_[t] != kUserDefined) continue;
      const std::string& token = tokens_[t].as_string();
      if (token.size() > kMaxPiece) continue;
      std::vector<size_t> starts;  // of characters
      for (size_t i = 0; i < token.size(); ++i) {
        if ((static_cast<unsigned char>(token[i]) & 0xC0) != 0x80) starts.push_back(i);
      }
      for (size_t i = 1; i < starts.size(); ++i) {
        auto left = ids_.find(token.substr(0, starts[i]));
        if (left == ids_.end()) continue;
        auto right = ids_.find(token.substr(starts[i]));
        if (right == ids_.end()) continue;
        merges.push_back({scores[t].as_double(), i, starts.size() - i, left->second, right->second,
                          starts[i], t});
      }
    }
    // Ties keep the order of the vocabulary, and within a token that of the halves' ids.
    std::sort(merges.begin(), merges.end(), [](const Merge& a, const Merge& b) {
      return std::tie(b.score, b.left_size, b.right_size, a.token, a.left, a.right) <
             std::tie(a.score, a.left_size, a.right_size, b.token, b.left, b.right);
    });
    Json::Array out;
    out.reserve(merges.size());
    for (const Merge& m : merges) {
      const std::string& token = tokens_[m.token].as_string();
      out.push_back(Json::array({token.substr(0, m.left_bytes), token.substr(m.left_bytes)}));
    }
    return Json(std::move(out));
  }

  Json added_tokens() const {
    Json::Array out;
    for (size_t i = 0; i < types_.size(); ++i) {
      bool is_special = types_[i] == kControl || types_[i] == kUnknown;
      if (!is_special && types_[i] != kUserDefined) continue;
      out.push_back(Json::object({{"id", i},
                                  {"content", tokens_[i].as_string()},
                                  {"single_word", false},
                                  {"lstrip", false},
                                  {"rstrip", false},
                                  {"normalized", false},
                                  {"special", is_special}}));
    }
    return Json(std::move(out));
  }

  /// Null unless something is added.
  Json template_of() const {
    auto bos = flag("add_bos_token", bos_by_default_) ? special("bos") : std::nullopt;
    auto eos = flag("add_eos_token", false) ? special("eos") : std::nullopt;
    if (!bos && !eos) return nullptr;
    Json::Array single, pair;
    Json specials = Json::object();
    auto add = [&](Json::Array& to, std::optional<int64_t> id, int type_id) {
      if (!id) return;
      const std::string& token = tokens_[*id].as_string();
      to.push_back(
          Json::object({{"SpecialToken", Json::object({{"id", token}, {"type_id", type_id}})}}));
      specials[token] = Json::object(
          {{"id", token}, {"ids", Json::array({*id})}, {"tokens", Json::array({token})}});
    };
    auto side = [&](Json::Array& to, const char* which, int type_id) {
      add(to, bos, type_id);
      to.push_back(
          Json::object({{"Sequence", Json::object({{"id", which}, {"type_id", type_id}})}}));
      add(to, eos, type_id);
    };
    side(single, "A", 0);
    side(pair, "A", 0);
    side(pair, "B", 1);
    return Json::object({{"type", "TemplateProcessing"},
                         {"single", Json(std::move(single))},
                         {"pair", Json(std::move(pair))},
                         {"special_tokens", specials}});
  }

  static constexpr size_t kMaxPiece = 512;  // bytes; cutting a token is quadratic in its length

  const Json& metadata_;
  const Json::Array& tokens_;
  std::unordered_map<std::string_view, size_t> ids_;
  std::vector<int64_t> types_;
  bool bos_by_default_ = false;
  Json normalizer_, pre_tokenizer_, decoder_, model_;
};

}  // namespace

Json tokenizer_json_from_gguf(const Json& metadata) { return Converter(metadata).run(); }

Json tokenizer_config_from_gguf(const Json& metadata) {
  const Json::Array& tokens = array(metadata, "tokens");
  Json out = Json::object({{"tokenizer_class", "PreTrainedTokenizerFast"}});
  constexpr std::pair<const char*, const char*> kRoles[] = {{"bos", "bos_token"},
                                                            {"eos", "eos_token"},
                                                            {"unknown", "unk_token"},
                                                            {"padding", "pad_token"}};
  for (const auto& [role, name] : kRoles) {
    const Json* id = metadata.find(std::string(kPrefix) + role + "_token_id");
    if (!id) continue;
    if (!id->is_int() || id->as_int() < 0 || id->as_int() >= static_cast<int64_t>(tokens.size()))
      bad(std::string("expected a token's number as metadata \"") + kPrefix + role + "_token_id\"");
    out[name] = text(tokens[static_cast<size_t>(id->as_int())], "tokens");
  }
  for (const char* name : {"add_bos_token", "add_eos_token"}) {
    if (const Json* value = metadata.find(std::string(kPrefix) + name)) out[name] = *value;
  }
  const Json* architecture = metadata.find("general.architecture");
  if (architecture && architecture->is_string()) {
    if (const Json* length = metadata.find(architecture->as_string() + ".context_length"))
      out["model_max_length"] = *length;
  }
  if (const Json* chat = metadata.find("tokenizer.chat_template"); chat && chat->is_string())
    out["chat_template"] = *chat;
  return out;
}

}  // namespace plait::data
