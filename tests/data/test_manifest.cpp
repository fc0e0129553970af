#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <set>

#include "plait/core/error.h"
#include "plait/core/parallel.h"
#include "plait/data/datasets/datasets.h"
#include "plait/data/datasets/manifest.h"
#include "plait/data/datasets/prepare.h"

namespace plait::data {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

std::vector<ManifestItem> some_items() {
  std::vector<ManifestItem> items;
  for (int i = 0; i < 300; ++i) {
    ManifestItem item{.id = std::to_string(i), .group = "g" + std::to_string(i % 250)};
    item.labels["class"] = i % 250 < 200 ? "many" : "few";
    items.push_back(item);
  }
  return items;
}

TEST(Splits, KeepGroupsTogetherAndClassesEven) {
  auto items = some_items();
  std::vector<int> splits = assign_splits(items, "class", 7, 0.2, 0.2);
  std::map<std::string, std::set<int>> sides;
  std::map<std::string, std::map<int, int>> counts;
  for (size_t i = 0; i < items.size(); ++i) {
    sides[items[i].group].insert(splits[i]);
    ++counts[items[i].labels["class"].as_string()][splits[i]];
  }
  for (const auto& [group, where] : sides) EXPECT_EQ(where.size(), 1u) << group;
  EXPECT_NEAR(counts["many"][2], 50, 2);
  EXPECT_NEAR(counts["few"][2], 10, 1);
  EXPECT_NEAR(counts["few"][1], 10, 1);
  EXPECT_EQ(assign_splits(items, "class", 7, 0.2, 0.2), splits);
  EXPECT_NE(assign_splits(items, "class", 8, 0.2, 0.2), splits);
  EXPECT_THROW(assign_splits(items, "class", 7, 0.5, 0.5), Error);
}

TEST(Splits, CaptionsThatDifferInCaseAndArticlesShareAGroup) {
  EXPECT_EQ(caption_group("A red apple."), caption_group("The red  Apple"));
  EXPECT_NE(caption_group("A red apple."), caption_group("A green apple."));
  EXPECT_EQ(caption_group("Égal"), "Égal");
  EXPECT_EQ(caption_group("!?"), "!?");
}

TEST(Manifest, RoundTripAndRefusals) {
  fs::path dir = fs::temp_directory_path() / ("plait-manifest-" + std::to_string(::getpid()));
  fs::create_directories(dir);
  ManifestItem item{.id = "x/1",
                    .group = "g",
                    .texts = {{"text", "Über 猫 \"quoted\"\n"}},
                    .files = {{"image", "x/1.png"}},
                    .row = 12};
  item.labels["class"] = "cat";
  write_manifest(dir, {item});
  auto back = read_manifest(dir);
  ASSERT_EQ(back.size(), 1u);
  EXPECT_EQ(back[0].texts, item.texts);
  EXPECT_EQ(back[0].files, item.files);
  EXPECT_EQ(back[0].labels, item.labels);
  EXPECT_EQ(back[0].row, 12);
  write_manifest(dir, {ManifestItem{.id = "1"}});
  EXPECT_EQ(read_manifest(dir)[0].row, -1);

  for (const char* bad :
       {"{", "{}", "[]", R"({"id":1,"group":"","texts":{},"files":{},"labels":{}})",
        R"({"id":"1","group":"","texts":{},"files":{"image":"../../etc/passwd"},"labels":{}})",
        R"({"id":"1","group":"","texts":{},"files":{"image":"/etc/passwd"},"labels":{}})",
        R"({"id":"1","group":"","texts":{},"files":{},"labels":{},"row":"x"})", ""}) {
    std::ofstream(dir / "manifest.jsonl") << bad << (*bad != '\0' ? "\n" : "");
    try {
      read_manifest(dir);
      ADD_FAILURE() << bad;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kCorruptData) << error.what();
      EXPECT_THAT(error.what(), HasSubstr("manifest.jsonl")) << bad;
    }
  }
  fs::remove_all(dir);
}

TEST(Datasets, UnknownNamesListTheKnownOnes) {
  try {
    load_dataset("no-such-set");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_THAT(error.what(), HasSubstr("stamps"));
  }
  for (const DatasetInfo& info : list_datasets()) {
    EXPECT_FALSE(info.licence.empty()) << info.name;
    EXPECT_FALSE(info.streams.empty()) << info.name;
    for (const Package& package : info.packages) {
      EXPECT_EQ(package.sha256.size(), 64u) << package.name;
      EXPECT_FALSE(package.licence.empty()) << package.name;
      EXPECT_GT(package.bytes, 0) << package.name;
    }
  }
}

TEST(Parallel, DoesEachOnceAndPassesTheFirstProblem) {
  std::vector<std::atomic<int>> seen(500);
  for_each_in_parallel(seen.size(), [&](size_t i) { ++seen[i]; }, {});
  for (auto& count : seen) EXPECT_EQ(count, 1);
  for_each_in_parallel(0, [](size_t) { FAIL(); }, {});
  EXPECT_THROW(
      for_each_in_parallel(10, [](size_t) { fail(ErrorCode::kIo, "test", "problem"); }, {}), Error);
}

}  // namespace
}  // namespace plait::data
