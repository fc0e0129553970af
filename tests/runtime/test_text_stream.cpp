#include "plait/runtime/generate/text_stream.h"

#include <gtest/gtest.h>

#include "plait/core/json.h"
#include "plait/data/text/unicode.h"

namespace plait::runtime {
namespace {

/// Bytes as tokens, in the letters that ByteLevel has for them, and a special token.
std::shared_ptr<const data::Tokenizer> byte_tokenizer() {
  Json::Object vocab;
  int extra = 0;
  for (int b = 0; b < 256; ++b) {
    const bool plain = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
    std::string token;
    data::append_utf8(token, static_cast<char32_t>(plain ? b : 256 + extra++));
    vocab.emplace_back(token, int64_t{b});
  }
  return data::Tokenizer::parse(
      Json::object(
          {{"added_tokens", Json::array({Json::object({{"id", 256},
                                                       {"content", "<end>"},
                                                       {"single_word", false},
                                                       {"lstrip", false},
                                                       {"rstrip", false},
                                                       {"normalized", false},
                                                       {"special", true}})})},
           {"pre_tokenizer", Json::object({{"type", "ByteLevel"}, {"add_prefix_space", false}})},
           {"decoder", Json::object({{"type", "ByteLevel"}})},
           {"model", Json::object({{"type", "BPE"}, {"vocab", vocab}, {"merges", Json::array()}})}})
          .dump());
}

std::vector<std::string> pieces(const std::string& bytes, std::vector<std::string> stop = {}) {
  TextStream stream(byte_tokenizer(), std::move(stop));
  std::vector<std::string> out;
  for (char c : bytes) {
    std::string piece = stream.push(static_cast<unsigned char>(c));
    if (!piece.empty()) out.push_back(piece);
    if (stream.stopped()) break;
  }
  if (std::string rest = stream.finish(); !rest.empty()) out.push_back(rest);
  std::string joined;
  for (const std::string& piece : out) {
    EXPECT_TRUE(data::is_utf8(piece)) << piece;
    joined += piece;
  }
  EXPECT_EQ(joined, stream.text());
  return out;
}

using Pieces = std::vector<std::string>;

TEST(TextStream, GivesWholeCharacters) {
  EXPECT_EQ(pieces("a\xC3\xA9\xF0\x9F\x98\x80z"),
            (Pieces{"a", "\xC3\xA9", "\xF0\x9F\x98\x80", "z"}));
  // What never becomes a character comes out as U+FFFD, at the latest at the end.
  EXPECT_EQ(pieces("a\xE4\xBD"), (Pieces{"a", "\xEF\xBF\xBD"}));
  std::string all;
  for (const std::string& piece : pieces("\xFFok\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFFz"))
    all += piece;
  EXPECT_TRUE(all.ends_with("z"));
  EXPECT_NE(all.find("ok"), std::string::npos);
}

TEST(TextStream, LeavesOutSpecialTokens) {
  TextStream stream(byte_tokenizer(), {});
  EXPECT_EQ(stream.push('a'), "a");
  EXPECT_EQ(stream.push(256), "");
  EXPECT_EQ(stream.push('b'), "b");
}

TEST(TextStream, HoldsBackWhatMayBeAStop) {
  EXPECT_EQ(pieces("one END two", {"END"}), (Pieces{"o", "n", "e", " "}));
  EXPECT_EQ(pieces("aEENx", {"END"}), (Pieces{"a", "E", "ENx"}));
  EXPECT_EQ(pieces("aEN", {"END"}), (Pieces{"a", "EN"}));
  EXPECT_EQ(pieces("a\n\nb", {"\n\n", "b"}), (Pieces{"a"}));
  EXPECT_EQ(pieces("x\xC3\xA9y", {"\xC3\xA9"}), (Pieces{"x"}));
}

}  // namespace
}  // namespace plait::runtime
