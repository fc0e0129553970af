#include "plait/data/text/gguf_tokenizer.h"

#include <gtest/gtest.h>

#include <limits>

#include "plait/data/text/tokenizer.h"
#include "tests/core/expect_error.h"

namespace plait::data {
namespace {

using tests::expect_error;

// What the reference gives is compared in tests/python/test_gguf_tokenizer.py.

Json bpe() {
  return Json::object({{"tokenizer.ggml.model", "gpt2"},
                       {"tokenizer.ggml.pre", "smollm"},
                       {"tokenizer.ggml.tokens", Json::array({"<s>", "a", "b", "ab", "1"})},
                       {"tokenizer.ggml.token_type", Json::array({3, 1, 1, 1, 1})},
                       {"tokenizer.ggml.merges", Json::array({"a b"})},
                       {"tokenizer.ggml.bos_token_id", 0},
                       {"tokenizer.ggml.add_bos_token", true},
                       {"tokenizer.chat_template", "{{ messages }}"},
                       {"general.architecture", "llama"},
                       {"llama.context_length", 8192}});
}

Json sentence_piece() {
  return Json::object(
      {{"tokenizer.ggml.model", "llama"},
       {"tokenizer.ggml.tokens", Json::array({"<unk>", "a", "b", "\u2581", "ab", "\u2581ab"})},
       {"tokenizer.ggml.token_type", Json::array({2, 1, 1, 1, 1, 1})},
       {"tokenizer.ggml.unknown_token_id", 0},
       {"tokenizer.ggml.scores", Json::array({0, -1.0, -2.0, -3.0, -4.0, -5.0})}});
}

void expect_refused(ErrorCode code, const std::string& part, Json metadata, const char* key,
                    Json value) {
  metadata[std::string("tokenizer.ggml.") + key] = std::move(value);
  expect_error(code, part, [&] { tokenizer_json_from_gguf(metadata); });
}

TEST(GgufTokenizerTest, ReadsBothKinds) {
  auto tokenizer = Tokenizer::parse(tokenizer_json_from_gguf(bpe()).dump());
  EXPECT_EQ(tokenizer->encode("ab1<s>").ids, (std::vector<int64_t>{0, 3, 4, 0}));
  auto pieces = Tokenizer::parse(tokenizer_json_from_gguf(sentence_piece()).dump());
  EXPECT_EQ(pieces->encode("ab").ids, (std::vector<int64_t>{5}));
}

TEST(GgufTokenizerTest, TellsTheSpecialTokensAndTheTemplate) {
  EXPECT_EQ(
      tokenizer_config_from_gguf(bpe()).dump(),
      R"({"tokenizer_class":"PreTrainedTokenizerFast","bos_token":"<s>","add_bos_token":true,)"
      R"("model_max_length":8192,"chat_template":"{{ messages }}"})");
}

TEST(GgufTokenizerTest, RefusesWhatDoesNotFit) {
  auto corrupt = ErrorCode::kCorruptData;
  expect_error(corrupt, "tokenizer.ggml.tokens", [] { tokenizer_json_from_gguf(Json::object()); });
  expect_refused(ErrorCode::kUnavailable, "kind gpt2 or llama, got \"bert\"", bpe(), "model",
                 "bert");
  expect_refused(ErrorCode::kUnavailable, "got \"tekken\"", bpe(), "pre", "tekken");
  expect_refused(corrupt, "texts in metadata", bpe(), "model", 3);
  expect_refused(corrupt, "an array", bpe(), "tokens", 3);
  expect_refused(corrupt, "texts in metadata", bpe(), "tokens", Json::array({1}));
  expect_refused(corrupt, "appears twice", bpe(), "tokens", Json::array({"a", "a"}));
  expect_refused(corrupt, "as many token types", bpe(), "token_type", Json::array({1}));
  expect_refused(corrupt, "numbers as token types", bpe(), "token_type",
                 Json::array({"", "", "", "", ""}));
  expect_refused(corrupt, "two tokens in merge 0", bpe(), "merges", Json::array({"ab"}));
  expect_refused(corrupt, "two tokens in merge 0", bpe(), "merges", Json::array({""}));
  expect_refused(corrupt, "two tokens in merge 0", bpe(), "merges", Json::array({"a "}));
  expect_refused(corrupt, "bos_token_id", bpe(), "bos_token_id", 5);
  expect_refused(corrupt, "bos_token_id", bpe(), "bos_token_id", -1);
  expect_refused(corrupt, "a boolean", bpe(), "add_bos_token", 1);
  expect_refused(corrupt, "as many scores", sentence_piece(), "scores", Json::array({1}));
  expect_refused(corrupt, "finite numbers", sentence_piece(), "scores",
                 Json::array({0, std::numeric_limits<double>::quiet_NaN(), 0, 0, 0, 0}));
  expect_refused(corrupt, "unknown_token_id", sentence_piece(), "unknown_token_id", 6);
  Json metadata = bpe();
  metadata["tokenizer.ggml.eos_token_id"] = 99;
  expect_error(corrupt, "eos_token_id", [&] { tokenizer_config_from_gguf(metadata); });
}

}  // namespace
}  // namespace plait::data
