#pragma once
#include "plait/core/config.h"
#include "plait/data/processor.h"
#include "plait/data/text/tokenizer.h"

namespace plait::data {

struct TextProcessorConfig {
  std::string tokenizer = "tokenizer.json";
  int64_t max_length = 128;
  std::string prefix;

  void visit(ConfigVisitor& v) {
    v.field("tokenizer", tokenizer,
            "File in the stream's folder: a tokenizer.json, or a BERT vocab.txt");
    v.field("max_length", max_length, "Longest row in tokens, special ones included",
            {.min = 2, .max = 1 << 20});
    v.field("prefix", prefix, "Put in front of every text, e.g. \"query: \"");
  }
  static TextProcessorConfig tiny() {
    return {.tokenizer = "tokenizer.json", .max_length = 8, .prefix = ""};
  }
  void validate() const;
};

/// Texts → input_ids, attention_mask and token_type_ids, int64 [B, T], padded on the right to the
/// longest row. The row of a missing text is one pad token with mask 0.
class TextProcessor : public Processor {
 public:
  TextProcessor(const TextProcessorConfig& config, std::shared_ptr<const Tokenizer> tokenizer);
  /// Reads the tokenizer from `dir`. @throws Error kNotFound, kCorruptData.
  static std::shared_ptr<const TextProcessor> load(const TextProcessorConfig& config,
                                                   const std::string& dir);

  Modality modality() const override { return Modality::kText; }
  TensorMap process(const std::vector<const Value*>& values,
                    const std::string& where) const override;
  Json config() const override;
  /// Writes tokenizer.json, byte for byte as it was read.
  void save(const std::string& dir) const override;
  const Tokenizer& tokenizer() const { return *tokenizer_; }

 private:
  TextProcessorConfig config_;
  std::shared_ptr<const Tokenizer> tokenizer_;
};

}  // namespace plait::data
