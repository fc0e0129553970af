#include "plait/data/text/text_processor.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "plait/core/error.h"
#include "plait/core/file.h"

namespace plait::data {
namespace {

TEST(TextProcessor, PadsToTheLongestAndSurvivesSaving) {
  auto tokenizer =
      Tokenizer::from_vocab("[PAD]\n[UNK]\n[CLS]\n[SEP]\ncat\ndog\nq\n", true, "vocab.txt");
  TextProcessorConfig config = TextProcessorConfig::tiny();
  config.prefix = "q ";
  TextProcessor processor(config, tokenizer);
  Value one = std::string("cat"), two = std::string("cat dog cat dog cat dog cat dog");
  TensorMap out = processor.process({&one, nullptr, &two}, "text");
  EXPECT_EQ(out.at("input_ids").sizes(), (at::IntArrayRef{3, 8}));
  EXPECT_TRUE(at::equal(out.at("input_ids")[0], at::tensor({2, 6, 4, 3, 0, 0, 0, 0}, at::kLong)));
  EXPECT_TRUE(at::equal(out.at("attention_mask").sum(1), at::tensor({4, 0, 8}, at::kLong)));
  EXPECT_EQ(processor.process({nullptr}, "text").at("input_ids").size(1), 1);

  std::string dir = ::testing::TempDir() + "/text_processor";
  std::filesystem::create_directories(dir);
  processor.save(dir);
  EXPECT_EQ(read_file(dir + "/tokenizer.json"), tokenizer->json());
  auto again = make_processor(processor.config(), dir, "text");
  EXPECT_TRUE(at::equal(again->process({&two}, "text").at("input_ids")[0], out.at("input_ids")[2]));

  Value number = Json(1);
  EXPECT_THROW(processor.process({&number}, "text"), Error);
  config.tokenizer = "../tokenizer.json";
  EXPECT_THROW(config.validate(), Error);
}

}  // namespace
}  // namespace plait::data
