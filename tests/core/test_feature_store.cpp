#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "plait/core/disk_feature_store.h"
#include "plait/core/error.h"
#include "plait/core/hash.h"

namespace fs = std::filesystem;

namespace plait {
namespace {

class FeatureStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    dir_ = (fs::temp_directory_path() / ("plait-features-" + std::to_string(::getpid()))).string();
    fs::remove_all(dir_);
  }
  void TearDown() override { fs::remove_all(dir_); }
  std::vector<std::string> shards() const {
    std::vector<std::string> out;
    for (const auto& entry : fs::directory_iterator(dir_)) out.push_back(entry.path().string());
    std::sort(out.begin(), out.end());
    return out;
  }
  std::string dir_;
};

TensorMap item(int i) {
  return {{"pooled", at::full({16}, i, at::kFloat)},
          {"tokens", at::full({3, 16}, i, at::kBFloat16)}};
}
std::string key(int i) { return content_hash(std::to_string(i)); }

bool holds(FeatureStore& store, int i) {
  auto found = store.get(key(i));
  return found && at::equal(found->at("pooled"), item(i).at("pooled")) &&
         at::equal(found->at("tokens"), item(i).at("tokens"));
}

TEST_F(FeatureStoreTest, SurvivesReopening) {
  {
    DiskFeatureStore store(dir_);
    for (int i = 0; i < 5; ++i) store.put(key(i), item(i));
    EXPECT_TRUE(holds(store, 3)) << "before it is on disk";
    store.flush();
    EXPECT_TRUE(holds(store, 3));
    store.put(key(5), item(5));
    store.put(key(0), item(7));  // Replaces.
  }
  DiskFeatureStore store(dir_);
  EXPECT_EQ(store.size(), 6);
  for (int i = 1; i < 6; ++i) EXPECT_TRUE(holds(store, i)) << i;
  EXPECT_EQ(store.get(key(0))->at("pooled")[0].item<double>(), 7);
  EXPECT_FALSE(store.get(key(99)));
  store.clear();
  EXPECT_EQ(store.size(), 0);
  EXPECT_TRUE(shards().empty());
}

TEST_F(FeatureStoreTest, IsBounded) {
  DiskFeatureStore store(dir_, {.shard_bytes = 1000, .max_bytes = 8000});
  for (int i = 0; i < 200; ++i) store.put(key(i), item(i));
  size_t total = 0;
  for (const std::string& path : shards()) total += fs::file_size(path);
  EXPECT_LE(total, 8000u);
  EXPECT_TRUE(holds(store, 199));
  EXPECT_FALSE(store.contains(key(0)));
  EXPECT_LT(store.size(), 100);
}

TEST_F(FeatureStoreTest, DamagedShardsAreFoundAndRebuilt) {
  {
    DiskFeatureStore store(dir_);
    for (int i = 0; i < 3; ++i) {
      store.put(key(i), item(i));
      store.flush();
    }
  }
  auto files = shards();
  ASSERT_EQ(files.size(), 3u);
  fs::resize_file(files[0], fs::file_size(files[0]) / 2);  // Cut.
  {
    std::fstream flip(
        files[1], std::ios::in | std::ios::out | std::ios::binary);  // One bit of the last value.
    flip.seekg(-1, std::ios::end);
    char c = static_cast<char>(flip.peek() ^ 1);
    flip.seekp(-1, std::ios::end);
    flip.put(c);
  }
  std::ofstream(dir_ + "/shard-0000000009-00000000.safetensors") << "not a shard";
  DiskFeatureStore store(dir_);
  EXPECT_EQ(store.corrupt(), 2);
  EXPECT_FALSE(store.get(key(0)));
  EXPECT_FALSE(store.get(key(1)));
  EXPECT_EQ(store.corrupt(), 3);
  EXPECT_TRUE(holds(store, 2));
  store.put(key(0), item(0));
  store.put(key(1), item(1));
  store.flush();
  DiskFeatureStore again(dir_);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(holds(again, i)) << i;
}

TEST_F(FeatureStoreTest, FullDiskIsNoError) {
  DiskFeatureStore store(dir_, {.shard_bytes = 500});
  store.put(key(0), item(0));
  store.flush();
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  auto previous = std::signal(SIGXFSZ, SIG_IGN);
  rlimit tiny{50, before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &tiny);
  for (int i = 1; i < 100; ++i) EXPECT_NO_THROW(store.put(key(i), item(i)));
  EXPECT_THROW(store.flush(), Error);
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, previous);
  EXPECT_TRUE(holds(store, 0));
  EXPECT_LT(store.size(), 50) << "what cannot be written must not pile up in memory";
  store.put(key(500), item(500));
  store.flush();
  EXPECT_TRUE(holds(store, 500));
}

TEST_F(FeatureStoreTest, ManyThreads) {
  DiskFeatureStore store(dir_, {.shard_bytes = 2000});
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) {
        store.put(key(100 * t + i), item(100 * t + i));
        wrong += !holds(store, 100 * t + i / 2);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(store.size(), 200);
}

TEST_F(FeatureStoreTest, RefusesBadKeys) {
  DiskFeatureStore store(dir_);
  EXPECT_THROW(store.put("a/b", item(0)), Error);
  EXPECT_THROW(store.put("", item(0)), Error);
  EXPECT_THROW(store.put("a", {}), Error);
  EXPECT_THROW(DiskFeatureStore("/proc/no/such/place"), Error);
}

TEST(FeatureKey, ChangesWithContentConfigAndEveryWeight) {
  TensorMap weights = {{"a", at::zeros({3})}, {"b", at::ones({2, 2})}};
  std::set<std::string> seen = {encoder_fingerprint("{}", weights)};
  EXPECT_FALSE(
      seen.insert(encoder_fingerprint("{}", {{"a", at::zeros({3})}, {"b", at::ones({2, 2})}}))
          .second);
  EXPECT_TRUE(seen.insert(encoder_fingerprint("{ }", weights)).second);
  weights["b"][1][1] = 1.0000001f;
  EXPECT_TRUE(seen.insert(encoder_fingerprint("{}", weights)).second);
  EXPECT_TRUE(
      seen.insert(encoder_fingerprint("{}", {{"a", at::zeros({3})}, {"b", at::ones({4})}})).second);
  EXPECT_TRUE(
      seen.insert(encoder_fingerprint("{}", {{"a", at::zeros({3})}, {"c", at::ones({2, 2})}}))
          .second);
  EXPECT_NE(feature_key("x", "f"), feature_key("y", "f"));
  EXPECT_NE(feature_key("x", "f"), feature_key("x", "g"));
  EXPECT_NE(feature_key("fx", ""), feature_key("x", "f"));
  EXPECT_NE(feature_key(at::zeros({4}), "f"), feature_key(at::zeros({2, 2}), "f"));
  EXPECT_NE(feature_key(at::zeros({4}), "f"), feature_key(at::zeros({2}, at::kDouble), "f"));
}

TEST(ContentHash, DependsOnBytesAlone) {
  std::string text(1000, 'x');
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 7);
  for (size_t step : {1, 3, 31, 32, 33, 64, 999}) {
    ContentHash hash;
    for (size_t i = 0; i < text.size(); i += step)
      hash.update(text.data() + i, std::min(step, text.size() - i));
    EXPECT_EQ(hash.digest(), content_hash(text)) << step;
  }
  EXPECT_NE(ContentHash().update("ab").update("c").digest(),
            ContentHash().update("a").update("bc").digest());
  EXPECT_EQ(content_hash("").size(), 32u);
}

TEST(ContentHash, NoCollisionsAmongNearbyInputs) {
  // Every single-bit change, every length of zeros, every swap of neighbouring words.
  std::set<std::string> seen;
  size_t count = 0;
  std::string base(160, '\0');
  auto add = [&](const std::string& text) { ++count, seen.insert(content_hash(text)); };
  add(base);
  for (size_t bit = 0; bit < base.size() * 8; ++bit) {
    std::string changed = base;
    changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << bit % 8));
    add(changed);
  }
  for (size_t n = 0; n < 160; ++n) add(std::string(n, '\0'));
  std::string words;
  for (int i = 0; i < 160; ++i) words += static_cast<char>(i);
  add(words);
  for (size_t i = 0; i + 16 <= words.size(); i += 8) {
    std::string swapped = words;
    std::swap_ranges(swapped.begin() + i, swapped.begin() + i + 8, swapped.begin() + i + 8);
    add(swapped);
  }
  EXPECT_EQ(seen.size(), count);
}

TEST(MixSeed, SpreadsEvenly) {
  std::vector<int> buckets(16);
  std::set<uint64_t> seen;
  for (uint64_t seed = 0; seed < 10; ++seed) {
    for (uint64_t a = 0; a < 20; ++a) {
      for (uint64_t b = 0; b < 80; ++b) {
        uint64_t x = mix_seed(seed, a, b);
        seen.insert(x);
        ++buckets[x >> 60];
      }
    }
  }
  EXPECT_EQ(seen.size(), 16000u);
  for (int n : buckets) EXPECT_NEAR(n, 1000, 150);
}

}  // namespace
}  // namespace plait
