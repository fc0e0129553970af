#include "plait/runtime/feature_cache.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "plait/core/error.h"

namespace plait::runtime {
namespace {

TensorMap item(double value) { return {{"pooled", at::full({4}, value)}}; }
double value_of(FeatureCache& cache, const std::string& key) {
  auto found = cache.get(key);
  return found ? found->at("pooled")[0].item<double>() : -1;
}

TEST(FeatureCache, KeepsTheMostRecentlyUsed) {
  FeatureCache cache(2);
  cache.put("a", item(1));
  cache.put("b", item(2));
  EXPECT_EQ(value_of(cache, "a"), 1);
  cache.put("c", item(3));  // "b" was used longest ago.
  EXPECT_EQ(cache.size(), 2);
  EXPECT_FALSE(cache.contains("b"));
  EXPECT_EQ(value_of(cache, "b"), -1);
  cache.put("a", item(4));
  EXPECT_EQ(value_of(cache, "a"), 4);
  EXPECT_EQ(value_of(cache, "c"), 3);
  auto stats = cache.stats();
  EXPECT_EQ(stats.hits, 3);
  EXPECT_EQ(stats.misses, 1);
  EXPECT_EQ(stats.evictions, 1);
  cache.clear();
  EXPECT_EQ(cache.size(), 0);
  EXPECT_THROW(FeatureCache(0), Error);
}

TEST(FeatureCache, FindsOnDiskWhatMemoryForgot) {
  std::string dir =
      (std::filesystem::temp_directory_path() / ("plait-cache-" + std::to_string(::getpid())))
          .string();
  std::filesystem::remove_all(dir);
  {
    FeatureCache cache(1, dir);
    cache.put("any / key", item(1));
    cache.put("b", item(2));
    EXPECT_EQ(cache.size(), 1);
    EXPECT_TRUE(cache.contains("any / key"));
    EXPECT_EQ(value_of(cache, "any / key"), 1);
  }
  {
    FeatureCache cache(10, dir);
    EXPECT_EQ(value_of(cache, "b"), 2);
    EXPECT_EQ(cache.size(), 1);
    cache.clear();
  }
  EXPECT_EQ(value_of(*std::make_unique<FeatureCache>(10, dir), "b"), -1);
  std::filesystem::remove_all(dir);
}

TEST(FeatureCache, ManyThreads) {
  FeatureCache cache(16);
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 500; ++i) {
        int k = (i * 7 + t) % 40;
        cache.put(std::to_string(k), item(k));
        double found = value_of(cache, std::to_string((k + 1) % 40));
        wrong += found != -1 && found != (k + 1) % 40;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(cache.size(), 16);
}

}  // namespace
}  // namespace plait::runtime
