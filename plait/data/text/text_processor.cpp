#include "plait/data/text/text_processor.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <filesystem>

#include "plait/core/error.h"
#include "plait/core/file.h"
#include "plait/data/decode.h"

namespace plait::data {
namespace {

constexpr const char* kSavedName = "tokenizer.json";

}  // namespace

void TextProcessorConfig::validate() const {
  bool inside = !tokenizer.empty() && tokenizer.find('/') == std::string::npos && tokenizer != "..";
  if (!inside) {
    fail(ErrorCode::kInvalidArgument, "text",
         "expected the name of a file in the stream's folder, got \"" + tokenizer + "\"");
  }
}

TextProcessor::TextProcessor(const TextProcessorConfig& config,
                             std::shared_ptr<const Tokenizer> tokenizer)
    : config_(config), tokenizer_(std::move(tokenizer)) {
  config_.tokenizer = kSavedName;  // whatever it was read from, this is what save() writes
}

std::shared_ptr<const TextProcessor> TextProcessor::load(const TextProcessorConfig& config,
                                                         const std::string& dir) {
  std::filesystem::path file = std::filesystem::path(dir) / config.tokenizer;
  std::error_code ignored;
  // Old folders of BERT models have a vocab.txt only.
  bool missing = config.tokenizer == kSavedName && !std::filesystem::exists(file, ignored);
  return std::make_shared<TextProcessor>(config,
                                         Tokenizer::from_file(missing ? dir : file.string()));
}

TensorMap TextProcessor::process(const std::vector<const Value*>& values,
                                 const std::string& where) const {
  auto rows = static_cast<int64_t>(values.size());
  std::vector<Encoding> encodings(values.size());
  EncodeOptions options{
      .add_special_tokens = true, .max_length = config_.max_length, .padding = false};
  for (size_t i = 0; i < values.size(); ++i) {
    if (!values[i]) continue;
    std::string text = decode_text_value(*values[i], item_name(where, i, values.size()));
    encodings[i] =
        tokenizer_->encode(config_.prefix.empty() ? text : config_.prefix + text, options);
  }
  size_t longest = 1;
  for (const Encoding& encoding : encodings) longest = std::max(longest, encoding.size());

  auto shape = std::vector<int64_t>{rows, static_cast<int64_t>(longest)};
  at::Tensor ids = at::full(shape, tokenizer_->pad_id(), at::kLong);
  at::Tensor mask = at::zeros(shape, at::kLong);
  at::Tensor types = at::zeros(shape, at::kLong);
  for (size_t i = 0; i < encodings.size(); ++i) {
    size_t at = i * longest;
    std::copy(encodings[i].ids.begin(), encodings[i].ids.end(), ids.data_ptr<int64_t>() + at);
    std::copy(encodings[i].type_ids.begin(), encodings[i].type_ids.end(),
              types.data_ptr<int64_t>() + at);
    std::fill_n(mask.data_ptr<int64_t>() + at, encodings[i].size(), 1);
  }
  return {{"input_ids", ids}, {"attention_mask", mask}, {"token_type_ids", types}};
}

Json TextProcessor::config() const { return typed_config("text", write_config(config_)); }

void TextProcessor::save(const std::string& dir) const {
  write_file_atomic((std::filesystem::path(dir) / kSavedName).string(), tokenizer_->json());
}

}  // namespace plait::data
