#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <set>

#include "plait/core/error.h"
#include "plait/core/file.h"
#include "plait/data/datasets/datasets.h"
#include "plait/data/datasets/manifest.h"

/// With the real packages, which the set-up step has put into the cache (else they are fetched here).
namespace plait::data {
namespace {

namespace fs = std::filesystem;

std::vector<const Sample*> all(const DatasetSplits& splits) {
  std::vector<const Sample*> out;
  for (const auto* list : {&splits.train, &splits.validation, &splits.test}) {
    for (const Sample& sample : *list) out.push_back(&sample);
  }
  return out;
}

std::string text(const Sample& sample, const std::string& stream) { return std::get<std::string>(sample.streams.at(stream)); }
std::string file(const Sample& sample, const std::string& stream) { return std::get<Path>(sample.streams.at(stream)).path; }
std::string head(const std::string& path, size_t n) { return read_file(path).substr(0, n); }

void expect_disjoint(const DatasetSplits& splits, const std::string& stream) {
  std::map<std::string, std::set<int>> sides;
  int side = 0;
  for (const auto* list : {&splits.train, &splits.validation, &splits.test}) {
    for (const Sample& sample : *list) sides[caption_group(text(sample, stream))].insert(side);
    ++side;
  }
  for (const auto& [caption, where] : sides) EXPECT_EQ(where.size(), 1u) << caption;
}

TEST(Stamps, NineClassesWithPictureCaptionAndSpeech) {
  DatasetSplits stamps = load_dataset("stamps");
  auto items = all(stamps);
  EXPECT_EQ(items.size(), 610u);
  EXPECT_LT(stamps.train.size(), 1000u);
  EXPECT_NEAR(static_cast<double>(stamps.train.size()), 0.6 * 610, 12);
  EXPECT_NEAR(static_cast<double>(stamps.test.size()), 0.2 * 610, 12);
  EXPECT_THAT(stamps.classes, ::testing::ElementsAre("animals", "clothes", "food", "household", "people", "plants",
                                                     "seasonal", "town", "vehicles"));
  std::map<std::string, int> counts;
  for (const Sample* sample : items) {
    ++counts[sample->labels.at("category").as_string()];
    EXPECT_EQ(sample->streams.size(), 3u) << sample->id;
    EXPECT_FALSE(text(*sample, "text").empty()) << sample->id;
    EXPECT_EQ(head(file(*sample, "image"), 4), "\x89PNG") << sample->id;
    EXPECT_EQ(head(file(*sample, "speech"), 4), "OggS") << sample->id;
  }
  EXPECT_EQ(counts["animals"], 144);  // The majority class: 24 %.
  for (const auto& [name, count] : counts) EXPECT_GE(count, 27) << name;
  expect_disjoint(stamps, "text");
}

TEST(Stamps, MoreLanguagesOnRequestAndOtherSeeds) {
  DatasetSplits stamps = load_dataset("stamps", {.streams = {"text_fr", "speech_es"}, .seed = 3});
  size_t french = 0, spanish = 0;
  for (const Sample* sample : all(stamps)) {
    french += sample->streams.count("text_fr");
    spanish += sample->streams.count("speech_es");
    EXPECT_EQ(sample->streams.count("text"), 0u);
  }
  EXPECT_GT(french, 590u);
  EXPECT_GT(spanish, 550u);
  auto ids = [](const DatasetSplits& splits) {
    std::set<std::string> out;
    for (const Sample& sample : splits.test) out.insert(sample.id);
    return out;
  };
  EXPECT_NE(ids(stamps), ids(load_dataset("stamps")));
  EXPECT_EQ(ids(stamps), ids(load_dataset("stamps", {.seed = 3})));
  EXPECT_THROW(load_dataset("stamps", {.streams = {"smell"}}), Error);
}

}  // namespace
}  // namespace plait::data
