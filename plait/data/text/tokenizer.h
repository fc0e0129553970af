#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace plait::data {

/// One tokenized text (or pair of texts). All vectors have one item per token.
struct Encoding {
  std::vector<int64_t> ids;
  std::vector<int64_t> type_ids;
  std::vector<std::pair<uint32_t, uint32_t>>
      offsets;  ///< Bytes [begin, end) of the text; (0, 0) for special tokens.
  std::vector<uint8_t> special_mask;    ///< 1 for tokens that were added, padding included.
  std::vector<uint8_t> attention_mask;  ///< 0 for padding.
  size_t size() const { return ids.size(); }
};

/// What may differ from the file's own settings.
struct EncodeOptions {
  bool add_special_tokens = true;
  std::optional<int64_t> max_length =
      std::nullopt;     ///< Tokens, special ones included; 0: no limit; none: as the file.
  bool padding = true;  ///< Pad if the file says so.
};

/// A Hugging Face `tokenizer.json`, giving token for token what the `tokenizers` package 0.23
/// gives: normalizer → pre-tokenizer → model (WordPiece, BPE, Unigram, WordLevel) → post-processor,
/// and decoders back. Immutable, thread-safe.
///
/// A component that Plait does not have is an Error that names it. Text that is not UTF-8 has each
/// ill-formed part replaced by U+FFFD first (Python's errors="replace"); offsets then refer to that
/// text. Texts over kMaxText bytes are refused.
class Tokenizer {
 public:
  static constexpr size_t kMaxText = size_t{16} << 20;

  /// Reads a tokenizer.json, a BERT vocab.txt, or a folder that holds one of them (with
  /// tokenizer_config.json's do_lower_case for the latter). @throws Error kNotFound, kCorruptData
  /// naming file and member, kResourceLimit.
  static std::shared_ptr<const Tokenizer> from_file(const std::string& path);
  /// `json` as in a tokenizer.json; `name` is used in messages.
  static std::shared_ptr<const Tokenizer> parse(std::string json,
                                                const std::string& name = "tokenizer.json");
  /// The uncased or cased BERT tokenizer over the lines of a vocab.txt.
  static std::shared_ptr<const Tokenizer> from_vocab(std::string_view lines, bool lower_case,
                                                     const std::string& name);
  ~Tokenizer();

  /// @throws Error kResourceLimit for a text over kMaxText; kInvalidArgument for a max_length below
  /// the special tokens.
  Encoding encode(std::string_view text, const EncodeOptions& options = {}) const;
  Encoding encode_pair(std::string_view first, std::string_view second,
                       const EncodeOptions& options = {}) const;
  /// Ids without a token are left out.
  std::string decode(const std::vector<int64_t>& ids, bool skip_special = true) const;

  /// The id of a token, or -1.
  int64_t id_of(std::string_view token) const;
  /// The token of an id. @throws Error kInvalidArgument when there is none.
  std::string token_of(int64_t id) const;
  /// Tokens of the model and added ones.
  int64_t vocab_size() const;
  /// The id that rows are filled up with: the file's padding, else a token like [PAD] or <pad>,
  /// else 0.
  int64_t pad_id() const;
  /// The length that the file truncates to, if it does.
  std::optional<int64_t> max_length() const;
  /// The JSON that this was made from, byte for byte.
  const std::string& json() const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<const Impl> impl);
  std::unique_ptr<const Impl> impl_;
};

}  // namespace plait::data
