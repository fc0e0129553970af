#include "plait/data/text/tokenizer.h"

#include <gtest/gtest.h>

#include "plait/core/error.h"
#include "plait/core/json.h"

namespace plait::data {
namespace {

const std::string kGolden = std::string(PLAIT_SOURCE_DIR) + "/tests/golden/tokenizers/";

std::shared_ptr<const Tokenizer> golden(const std::string& name) {
  return Tokenizer::parse(Json::read(kGolden + name + ".json").at("tokenizer").dump(), name);
}

class Golden : public ::testing::TestWithParam<const char*> {};

TEST_P(Golden, GivesTheReferencesTokens) {
  Json root = Json::read(kGolden + GetParam() + ".json");
  auto tokenizer = golden(GetParam());
  ASSERT_GE(root.at("cases").size(), 8u);
  for (const Json& item : root.at("cases").items()) {
    const std::string& text = item.at("text").as_string();
    Encoding encoding = tokenizer->encode(text);
    EXPECT_EQ(encoding.ids, item.at("ids").as_ints()) << text;
    std::vector<int64_t> offsets;
    for (auto [begin, end] : encoding.offsets) {
      offsets.push_back(begin);
      offsets.push_back(end);
    }
    EXPECT_EQ(offsets, item.at("offsets").as_ints()) << text;
    EXPECT_EQ(tokenizer->decode(encoding.ids), item.at("decoded").as_string()) << text;
  }
}

INSTANTIATE_TEST_SUITE_P(Tokenizer, Golden,
                         ::testing::Values("bert-uncased", "gpt2", "llama2", "word-level"));

/// What goes wrong with this text as a tokenizer.json.
std::string refusal(const std::string& json) {
  try {
    Tokenizer::parse(json, "bad.json");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Tokenizer, NamesWhatItLacksOrCannotRead) {
  const std::string model = R"("model":{"type":"WordLevel","vocab":{"a":0},"unk_token":"a"})";
  EXPECT_EQ(refusal("{" + model + "}"), "");
  EXPECT_NE(refusal("{" + model + R"(,"normalizer":{"type":"Magic"}})")
                .find("\"Magic\" at bad.json:normalizer"),
            std::string::npos);
  EXPECT_NE(refusal("{" + model +
                    R"(,"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"X"}]}})")
                .find("pretokenizers[0]"),
            std::string::npos);
  EXPECT_NE(refusal("{" + model + R"(,"decoder":{}})").find("bad.json:decoder"), std::string::npos);
  EXPECT_NE(refusal("{").find("bad.json"), std::string::npos);
  EXPECT_NE(refusal("{}").find("\"model\""), std::string::npos);
  EXPECT_NE(refusal(R"({"model":{"type":"WordLevel","vocab":{"a":2000000000}}})").find("ids"),
            std::string::npos);
  EXPECT_NE(refusal(R"({"model":{"type":"BPE","vocab":{"a":0},"merges":["a b"]}})").find("merge 0"),
            std::string::npos);
  EXPECT_NE(
      refusal(R"({"model":{"type":"Unigram","vocab":[["a",0.0]],"unk_id":7}})").find("unk_id"),
      std::string::npos);
  EXPECT_NE(refusal("{" + model +
                    R"(,"normalizer":{"type":"Precompiled","precompiled_charsmap":"AAAA"}})")
                .find("character map"),
            std::string::npos);
}

TEST(Tokenizer, ReplacesIllFormedTextAndRefusesHugeText) {
  auto tokenizer = golden("gpt2");
  EXPECT_EQ(tokenizer->encode("a\xff\xe4\xb8z").ids,
            tokenizer->encode("a\xef\xbf\xbd\xef\xbf\xbdz").ids);
  EXPECT_EQ(tokenizer->encode("\xed\xa0\x80").ids,
            tokenizer->encode("\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd").ids);
  EXPECT_THROW(tokenizer->encode(std::string(Tokenizer::kMaxText + 1, 'a')), Error);
}

TEST(Tokenizer, KeepsItsJsonAndTruncates) {
  std::string json = Json::read(kGolden + "bert-uncased.json").at("tokenizer").dump(2);
  auto tokenizer = Tokenizer::parse(json);
  EXPECT_EQ(tokenizer->json(), json);
  Encoding cut = tokenizer->encode("the quick brown fox", {.max_length = 4});
  ASSERT_EQ(cut.size(), 4u);
  EXPECT_EQ(tokenizer->token_of(cut.ids.front()), "[CLS]");
  EXPECT_EQ(tokenizer->token_of(cut.ids.back()), "[SEP]");
  EXPECT_EQ(tokenizer->id_of("[SEP]"), cut.ids.back());
  EXPECT_THROW(tokenizer->encode("a", {.max_length = 1}), Error);
  EXPECT_THROW(tokenizer->token_of(1 << 20), Error);
}

TEST(Tokenizer, ReadsAVocabTxt) {
  auto tokenizer =
      Tokenizer::from_vocab("[PAD]\n[UNK]\n[CLS]\n[SEP]\nca\n##t\n", true, "vocab.txt");
  EXPECT_EQ(tokenizer->encode("CAT dog").ids, (std::vector<int64_t>{2, 4, 5, 1, 3}));
  EXPECT_THROW(Tokenizer::from_vocab("a\nb\n", true, "vocab.txt"), Error);
}

}  // namespace
}  // namespace plait::data
