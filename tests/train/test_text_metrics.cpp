#include <gtest/gtest.h>

#include "plait/core/error.h"
#include "plait/core/json.h"
#include "plait/train/text_metrics.h"

namespace plait::train {
namespace {

TEST(TextMetrics, CiderIsTheReferences) {
  const Json golden = Json::read(PLAIT_SOURCE_DIR "/tests/golden/train/cider.json");
  std::vector<std::vector<std::string>> candidates;
  std::vector<std::vector<std::vector<std::string>>> references;
  for (const Json& item : golden.at("items").items()) {
    candidates.push_back(caption_words(item.at("candidate").as_string()));
    references.emplace_back();
    for (const std::string& text : item.at("references").as_strings())
      references.back().push_back(caption_words(text));
  }
  const std::vector<double> scores = cider(candidates, references);
  double mean = 0;
  for (size_t i = 0; i < scores.size(); ++i) {
    EXPECT_NEAR(scores[i], golden.at("items").at(i).at("score").as_double(), 1e-9) << i;
    mean += scores[i] / static_cast<double>(scores.size());
  }
  EXPECT_NEAR(mean, golden.at("mean").as_double(), 1e-9);
  EXPECT_THROW(cider({}, {}), Error);
  EXPECT_THROW(cider({{"a"}}, {{}}), Error);
}

TEST(TextMetrics, WordsOfBothLanguages) {
  using Words = std::vector<std::string>;
  EXPECT_EQ(caption_words("A red Star, on (the) left."),
            (Words{"a", "red", "star", "on", "the", "left"}));
  EXPECT_EQ(caption_words("左边有red星，"), (Words{"左", "边", "有", "red", "星"}));
  EXPECT_EQ(caption_words(" ...  "), Words{});
  EXPECT_EQ(caption_words("don't"), (Words{"don't"}));
}

TEST(TextMetrics, BootstrapSeesARealDifferenceAndNoOther) {
  std::vector<double> better, worse, same;
  for (int i = 0; i < 100; ++i) {
    better.push_back(i % 10 < 7 ? 1 : 0);
    worse.push_back((i * 7) % 10 < 4 ? 1 : 0);
    same.push_back((i * 3) % 10 < 7 ? 1 : 0);
  }
  const PairedDifference clear = paired_bootstrap(better, worse, 1);
  EXPECT_NEAR(clear.difference, 0.3, 1e-12);
  EXPECT_LT(clear.p, 0.01);
  EXPECT_GT(clear.low, 0);
  EXPECT_LT(clear.high, 0.6);
  const PairedDifference none = paired_bootstrap(better, same, 1);
  EXPECT_NEAR(none.difference, 0, 1e-12);
  EXPECT_GT(none.p, 0.2);
  EXPECT_THROW(paired_bootstrap({1}, {1, 2}, 1), Error);
}

}  // namespace
}  // namespace plait::train
