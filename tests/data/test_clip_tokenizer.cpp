// A CLIP tokenizer from its two files, and what may be wrong with them. The tokens themselves are
// compared with transformers in tests/python/test_pictures.py.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "plait/core/error.h"
#include "plait/core/file.h"
#include "plait/data/text/clip_tokenizer.h"

namespace plait::data {
namespace {

namespace fs = std::filesystem;

constexpr const char* kVocab =
    R"({"a":0,"b":1,"a</w>":2,"b</w>":3,"ab</w>":4,"<|startoftext|>":5,"<|endoftext|>":6})";
constexpr const char* kMerges = "#version: 0.2\r\na b</w>\r\n";

class ClipTokenizer : public testing::Test {
 protected:
  void SetUp() override {
    dir_ = fs::temp_directory_path() / ("plait_clip_" + std::to_string(getpid()));
    fs::create_directories(dir_);
    write("vocab.json", kVocab);
    write("merges.txt", kMerges);
  }
  void TearDown() override { fs::remove_all(dir_); }
  void write(const char* name, const std::string& text) {
    write_file_atomic((dir_ / name).string(), text);
  }
  std::vector<int64_t> ids(const std::string& text, int64_t longest = 6) const {
    return PromptTokenizer::load(dir_.string(), longest)->row(text);
  }
  std::string message() const {
    try {
      ids("a");
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }
  fs::path dir_;
};

TEST_F(ClipTokenizer, PutsStartEndAndPaddingAround) {
  EXPECT_EQ(ids("AB  a"), (std::vector<int64_t>{5, 4, 2, 6, 6, 6}));
  EXPECT_EQ(ids(""), (std::vector<int64_t>{5, 6, 6, 6, 6, 6}));
  EXPECT_EQ(ids("a b a b a b"), (std::vector<int64_t>{5, 2, 3, 2, 3, 6}));  // cut off
  write("tokenizer_config.json", R"({"model_max_length": 4, "pad_token": {"content": "a"}})");
  EXPECT_EQ(ids("ab"), (std::vector<int64_t>{5, 4, 6, 0}));
  write("tokenizer_config.json", R"({"model_max_length": 1e30})");
  EXPECT_EQ(ids("ab", 3), (std::vector<int64_t>{5, 4, 6}));
  write("special_tokens_map.json", R"({"pad_token": "b"})");
  EXPECT_EQ(ids("ab", 4), (std::vector<int64_t>{5, 4, 6, 1}));
}

TEST_F(ClipTokenizer, SaysWhatIsWrong) {
  write("vocab.json", "[]");
  EXPECT_THAT(message(), testing::HasSubstr("object of tokens"));
  write("vocab.json", R"({"a":0,"<|endoftext|>":1})");
  EXPECT_THAT(message(), testing::HasSubstr("<|startoftext|>"));
  write("vocab.json", R"({"<|startoftext|>":"x","<|endoftext|>":1})");
  EXPECT_THAT(message(), testing::HasSubstr("<|startoftext|>"));
  write("vocab.json", kVocab);
  write("merges.txt", "a c\n");
  EXPECT_THAT(message(), testing::HasSubstr("merge 0"));
  write("merges.txt", "a\n");
  EXPECT_THAT(message(), testing::HasSubstr("merge 0"));
  write("merges.txt", kMerges);
  write("tokenizer_config.json", R"({"pad_token": "none such"})");
  EXPECT_THAT(message(), testing::HasSubstr("padding token"));
  write("tokenizer_config.json", "{");
  EXPECT_THAT(message(), testing::HasSubstr("tokenizer_config.json"));
  fs::remove(dir_ / "tokenizer_config.json");
  fs::remove(dir_ / "merges.txt");
  EXPECT_THAT(message(), testing::HasSubstr("merges.txt"));
}

}  // namespace
}  // namespace plait::data
