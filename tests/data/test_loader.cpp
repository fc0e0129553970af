#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <thread>

#include "plait/core/hash.h"
#include "plait/data/loader.h"
#include "plait/data/series/series_processor.h"
#include "tests/data/media_files.h"

namespace plait::data {
namespace {

Processors series() {
  return {{"s", make_processor(Json::parse(R"({"type": "series", "channels": 1})"), ".", "s")}};
}

/// Item i holds the series [i]; every third item lacks it.
std::shared_ptr<MultimodalDataset> numbers(int64_t n, int64_t broken = -1) {
  MultimodalDataset::Column column;
  std::vector<Json> labels;
  for (int64_t i = 0; i < n; ++i) {
    column.emplace_back();
    double value = i == broken ? INFINITY : static_cast<double>(i);
    if (i % 3 != 2) column.back().emplace(at::full({1}, value));
    labels.push_back(i);
  }
  return std::make_shared<MultimodalDataset>(
      std::map<std::string, MultimodalDataset::Column>{{"s", column}},
      std::map<std::string, std::vector<Json>>{{"n", labels}});
}

std::vector<int64_t> all(Loader& loader, int64_t epoch, int64_t first = 0) {
  std::vector<int64_t> out;
  loader.start(epoch, first);
  while (auto batch = loader.next()) {
    at::Tensor n = batch->targets.at("n");
    for (int64_t i = 0; i < batch->size; ++i) {
      out.push_back(n[i].item<int64_t>());
      bool there = batch->streams.at("s").present[i].item<bool>();
      EXPECT_EQ(there, out.back() % 3 != 2);
      if (!there) continue;
      EXPECT_EQ(batch->streams.at("s").inputs.at("values")[i][0][0].item<float>(),
                static_cast<float>(out.back()));
    }
  }
  return out;
}

TEST(Loader, OrderDoesNotDependOnWorkers) {
  std::vector<int64_t> want, next_epoch;
  for (int64_t workers : {0, 1, 4}) {
    Loader loader(
        numbers(101), series(),
        {.batch_size = 7, .shuffle = true, .seed = 3, .workers = workers, .labels = {"n"}});
    std::vector<int64_t> got = all(loader, 1);
    EXPECT_EQ(got.size(), 101u);
    if (want.empty()) want = got;
    EXPECT_EQ(got, want);
    EXPECT_EQ(all(loader, 1), want);
    EXPECT_NE(all(loader, 2), want);
    EXPECT_EQ(all(loader, 1, 5), std::vector<int64_t>(want.begin() + 35, want.end()));
    EXPECT_EQ(loader.batches(), 15);
  }
  std::sort(want.begin(), want.end());
  for (int64_t i = 0; i < 101; ++i) EXPECT_EQ(want[static_cast<size_t>(i)], i);
}

TEST(Loader, SeedsOfItemsAreTheirOwn) {
  for (int64_t workers : {0, 3}) {
    std::atomic<int> calls = 0;
    LoaderOptions options{
        .batch_size = 4, .shuffle = true, .seed = 9, .workers = workers, .labels = {"n"}};
    options.transform = [&](Sample& sample, uint64_t seed) {
      EXPECT_EQ(seed, mix_seed(9, 5, static_cast<uint64_t>(std::stoll(sample.id))));
      ++calls;
    };
    Loader loader(numbers(30), series(), options);
    EXPECT_EQ(all(loader, 5).size(), 30u);
    EXPECT_EQ(calls, 30);
  }
}

TEST(Loader, RaisesOrSkips) {
  for (int64_t workers : {0, 2}) {
    LoaderOptions options{.batch_size = 4, .workers = workers, .labels = {"n"}};
    Loader raising(numbers(20, 9), series(), options);
    raising.start();
    EXPECT_TRUE(raising.next());
    EXPECT_TRUE(raising.next());
    std::string message = error_of([&] { raising.next(); }).what();
    EXPECT_NE(message.find("9, stream s"), std::string::npos) << message;
    EXPECT_TRUE(raising.next());  // Goes on after the broken batch.
    options.on_error = OnError::kSkip;
    Loader skipping(numbers(20, 9), series(), options);
    EXPECT_EQ(all(skipping, 0).size(), 19u);
    EXPECT_EQ(skipping.skipped_count(), 1);
    EXPECT_EQ(skipping.skipped().at(0).index, 9);
  }
}

TEST(Loader, BoundsWhatIsInFlight) {
  std::atomic<int64_t> made = 0;
  LoaderOptions options{.batch_size = 1, .workers = 4, .prefetch_batches = 3, .labels = {"n"}};
  options.transform = [&](Sample&, uint64_t) { ++made; };
  Loader loader(numbers(100), series(), options);
  loader.start();
  std::this_thread::sleep_for(std::chrono::milliseconds(150));
  EXPECT_LE(made, 3);
  for (int i = 0; i < 10; ++i) loader.next();
  std::this_thread::sleep_for(std::chrono::milliseconds(150));
  EXPECT_LE(made, 13);
  LoaderOptions small = options;
  small.max_bytes = 1;
  Loader one(numbers(30), series(), small);
  EXPECT_EQ(all(one, 0).size(), 30u);
}

TEST(Loader, StopsCleanly) {
  for (int round = 0; round < 20; ++round) {
    Loader loader(numbers(1000), series(), {.batch_size = 2, .workers = 3, .labels = {"n"}});
    loader.start();
    loader.next();
    std::thread other([&] { loader.cancel(); });
    while (loader.next()) continue;
    other.join();
    EXPECT_FALSE(loader.next());
  }
}

class JsonLines : public testing::Test {
 protected:
  void SetUp() override {
    dir_ =
        std::filesystem::path(testing::TempDir()) / ("plait_jsonl_" + std::to_string(::getpid()));
    std::filesystem::create_directories(dir_);
    write_file_atomic(file("shard-0.jsonl"),
                      "{\"n\": 0, \"s\": [1, 2]}\n\n{\"n\": 1, \"s\": null, \"id\": \"b\"}\n");
    write_file_atomic(file("shard-1.jsonl"), "{\"n\": 2, \"s\": \"s.csv\"}");
    write_file_atomic(file("s.csv"), "5\n6\n");
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  std::string file(const char* name) { return (dir_ / name).string(); }
  std::filesystem::path dir_;
};

TEST_F(JsonLines, MapsAndStreams) {
  std::vector<std::string> shards = shard_files(file("shard-*.jsonl"));
  ASSERT_EQ(shards.size(), 2u);
  ManifestStreams streams = {{"s", Modality::kSeries}};
  auto dataset = std::make_shared<JsonLinesDataset>(shards, streams);
  ASSERT_EQ(dataset->size(), 3);
  EXPECT_EQ(dataset->get(1).id, "b");
  EXPECT_TRUE(dataset->get(1).streams.empty());
  EXPECT_THROW(dataset->get(3), Error);
  for (int64_t workers : {0, 2}) {
    Loader mapped(dataset, series(), {.batch_size = 2, .workers = workers, .labels = {"n"}});
    Loader streamed(std::make_shared<JsonLinesStream>(shards, streams), series(),
                    {.batch_size = 2, .workers = workers, .labels = {"n"}});
    for (Loader* loader : {&mapped, &streamed}) {
      for (int epoch : {0, 1}) {
        loader->start(epoch);
        Batch first = *loader->next();
        Batch second = *loader->next();
        EXPECT_FALSE(loader->next());
        EXPECT_TRUE(at::equal(first.streams.at("s").present, at::tensor({1, 0}).to(at::kBool)));
        EXPECT_TRUE(at::equal(second.streams.at("s").inputs.at("values").flatten(),
                              at::tensor({5.0f, 6.0f})));
        EXPECT_TRUE(at::equal(second.targets.at("n"), at::tensor({2}, at::kLong)));
      }
    }
  }
  JsonLinesStream half(shards, streams, 1, 2);
  EXPECT_EQ(half.next()->id, "b");
  EXPECT_FALSE(half.next());
}

TEST_F(JsonLines, RefusesPathsOutside) {
  for (const char* path : {"../x.csv", "/etc/passwd", "a/../../x.csv", ""}) {
    write_file_atomic(file("bad.jsonl"), std::string("{\"s\": \"") + path + "\"}\n");
    JsonLinesDataset dataset({file("bad.jsonl")}, {{"s", Modality::kSeries}});
    EXPECT_EQ(error_of([&] { dataset.get(0); }).code(), ErrorCode::kCorruptData) << path;
  }
  write_file_atomic(file("bad.jsonl"), "{}\n[1]\n");
  std::string message = error_of([&] { JsonLinesDataset({file("bad.jsonl")}, {}); }).what();
  EXPECT_NE(message.find("line 2"), std::string::npos);
  EXPECT_THROW(shard_files(file("none-*.jsonl")), Error);
}

TEST(Dataset, ChecksColumns) {
  MultimodalDataset::Column one = {Value(std::string("x"))};
  MultimodalDataset::Column two = {Value(std::string("x")), std::nullopt};
  std::map<std::string, MultimodalDataset::Column> uneven = {{"a", one}, {"b", two}};
  EXPECT_THROW(MultimodalDataset{uneven}, Error);
  uneven.clear();
  EXPECT_THROW(MultimodalDataset{uneven}, Error);
  Sample stranger;
  stranger.streams["radar"] = at::zeros({1});
  EXPECT_NE(std::string(error_of([&] { collate({stranger}, series()); }).what()).find("radar"),
            std::string::npos);
}

}  // namespace
}  // namespace plait::data
