// What reads text aloud: numbers, lexicons, the network for unknown words, pitch.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>

#include "plait/core/error.h"
#include "plait/data/speech/chinese_text.h"
#include "plait/data/speech/english_numbers.h"
#include "plait/data/speech/english_text.h"
#include "plait/data/speech/letter_to_sound.h"
#include "plait/data/speech/lexicon.h"
#include "plait/data/speech/pitch.h"

namespace plait::data {
namespace {

namespace fs = std::filesystem;

TEST(EnglishNumbers, AreReadAtTheirLimits) {
  EXPECT_EQ(english_cardinal(0), "zero");
  EXPECT_EQ(english_cardinal(-1'000'042), "minus one million forty two");
  EXPECT_EQ(english_cardinal(std::numeric_limits<int64_t>::min()).substr(0, 24),
            "minus nine quintillion t");
  EXPECT_EQ(english_ordinal(12), "twelfth");
  EXPECT_EQ(english_ordinal(1020), "one thousand twentieth");
  EXPECT_EQ(english_year(1905), "nineteen oh five");
  EXPECT_EQ(english_year(2006), "two thousand six");
  EXPECT_EQ(english_year(1900), "nineteen hundred");
  EXPECT_EQ(english_digits("0a42"), "zero four two");
}

TEST(ChineseNumbers, AreReadAtTheirLimits) {
  EXPECT_EQ(chinese_number(0), "零");
  EXPECT_EQ(chinese_number(-20), "负二十");
  EXPECT_EQ(chinese_number(100'001'000), "一亿零一千");
  EXPECT_EQ(chinese_number(std::numeric_limits<int64_t>::min()).substr(0, 9), "负九百");
}

TEST(EnglishText, EndsSentencesWhereTheyEnd) {
  std::vector<SpokenText> said =
      spell_english("Mr. Fox paid 3.50 to Acme Inc. He left at 5 p.m. yesterday!");
  ASSERT_EQ(said.size(), 2u);
  EXPECT_EQ(said[0].words.front().text, "mister");
  EXPECT_EQ(said[0].words.back().text, "incorporated");
  EXPECT_EQ(said[1].words.back().mark, '!');
  EXPECT_TRUE(spell_english("... --- \n\n").empty());
  for (const SpokenText& sentence :
       spell_english(std::string(20'000, 'a') + " b, " + std::string(5'000, '1')))
    EXPECT_NE(sentence.words.back().mark, 0);
}

TEST(Lexicon, FindsWordsAndRefusesWhatIsNone) {
  Lexicon lexicon = Lexicon::parse("a\tɐ\nrecord\tɹˈɛkɚd\tVERB=ɹᵻkˈɔːɹd\n", "test");
  EXPECT_EQ(lexicon.find("record"), "ɹˈɛkɚd");
  EXPECT_EQ(lexicon.find("record", "VERB"), "ɹᵻkˈɔːɹd");
  EXPECT_EQ(lexicon.find("record", "VER"), "ɹˈɛkɚd");
  EXPECT_EQ(lexicon.find("a", "VERB"), "ɐ");
  EXPECT_EQ(lexicon.find("rec"), "");
  for (const char* wrong :
       {"word", "b\tx\na\ty\n", "a\tx\na\ty\n", "\tx\n", "a\t\xff\n", "a\nb\tx\n"})
    EXPECT_THROW(Lexicon::parse(wrong, "test"), Error) << wrong;
  EXPECT_EQ(Lexicon::parse("", "test").size(), 0u);
}

TEST(Lexicon, WritesEspeaksAlphabet) {
  EXPECT_EQ(misaki_to_ipa("həlˈO"), "həlˈoʊ");
  EXPECT_EQ(misaki_to_ipa("wˈɔɾəɹ"), "wˈɔːɾɚ");
  EXPECT_EQ(misaki_to_ipa("hˈæpi"), "hˈæpi");
  EXPECT_EQ(misaki_to_ipa("bˈɜɹd"), "bˈɜːd");
  EXPECT_EQ(arpabet_to_ipa("HH AH0 L OW1"), "həlˈoʊ");
  EXPECT_EQ(arpabet_to_ipa("W AO1 T ER0"), "wˈɔːɾɚ");
  EXPECT_EQ(arpabet_to_ipa("  XX "), "");
}

TEST(LetterToSound, RefusesWeightsThatDoNotFit) {
  TensorMap weights{{"enc_emb", at::zeros({29, 4})},
                    {"dec_emb", at::zeros({74, 4})},
                    {"fc_w", at::zeros({74, 6})},
                    {"fc_b", at::zeros({74})}};
  for (const char* cell : {"enc", "dec"}) {
    const std::string name = cell;
    weights[name + "_w_ih"] = at::zeros({18, 4});
    weights[name + "_w_hh"] = at::zeros({18, 6});
    weights[name + "_b_ih"] = at::zeros({18});
    weights[name + "_b_hh"] = at::zeros({18});
  }
  // All scores alike: the first symbol, which is no sound, until the limit.
  EXPECT_EQ(LetterToSound{weights}("word"), "");
  for (const auto& [name, tensor] : weights) {
    TensorMap changed = weights;
    changed.erase(name);
    EXPECT_THROW(LetterToSound{changed}, Error) << name;
    changed[name] = at::zeros({3, 3});
    EXPECT_THROW(LetterToSound{changed}, Error) << name;
    changed[name] = at::full_like(tensor, std::nan(""));
    EXPECT_THROW(LetterToSound{changed}, Error) << name;
  }
}

TEST(LetterToSound, RefusesBrokenArrays) {
  const fs::path dir = fs::temp_directory_path() / ("plait_npy_" + std::to_string(getpid()));
  fs::create_directories(dir);
  auto write = [&](const std::string& bytes) {
    std::ofstream(dir / "x.npy", std::ios::binary) << bytes;
  };
  const std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n";
  const std::string magic = std::string("\x93NUMPY\x01", 7) + std::string(1, '\0') +
                            std::string(1, static_cast<char>(header.size())) + std::string(1, '\0');
  write(magic + header + std::string(8, '\0'));
  EXPECT_TRUE(read_npy_folder(dir.string()).at("x").equal(at::zeros({2})));
  for (const std::string& wrong : {std::string(), std::string("\x93NUMPY"), magic, magic + header,
                                   magic + header + std::string(12, '\0'), std::string(40, 'x')}) {
    write(wrong);
    EXPECT_THROW(read_npy_folder(dir.string()), Error);
  }
  fs::remove_all(dir);
}

TEST(Pitch, IsThatOfATone) {
  const int64_t rate = 22050;
  at::Tensor time = at::arange(rate) / static_cast<double>(rate);
  for (double hertz : {90.0, 120.5, 233.0}) {
    at::Tensor tone = at::sin(2 * M_PI * hertz * time) + 0.5 * at::sin(4 * M_PI * hertz * time);
    at::Tensor found = pitch(tone.to(at::kFloat) * 0.3, rate, 256);
    EXPECT_EQ(found.size(0), rate / 256);
    at::Tensor middle = found.slice(0, 5, 80);
    EXPECT_NEAR(middle.median().item<double>(), hertz, 0.01 * hertz);
  }
  EXPECT_EQ(pitch(at::zeros({rate}), rate, 256).max().item<float>(), 0);
  EXPECT_LT((pitch(at::randn({rate}), rate, 256) > 0).to(at::kFloat).mean().item<float>(), 0.2);
  EXPECT_EQ(pitch(at::full({5000}, std::nan("")), rate, 256).size(0), 19);
  EXPECT_EQ(pitch(at::zeros({10}), rate, 256).size(0), 0);
  EXPECT_THROW(pitch(at::zeros({10, 2}), rate, 256), Error);
  EXPECT_THROW(pitch(at::zeros({10}), rate, 0), Error);
}

}  // namespace
}  // namespace plait::data
