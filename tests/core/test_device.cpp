#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include "plait/core/device.h"
#include "tests/core/expect_error.h"

namespace plait {
namespace {

using tests::expect_error;

TEST(DeviceTest, CpuAlwaysWorks) {
  EXPECT_EQ(available_backends().back(), "cpu");
  EXPECT_TRUE(device_from_string("cpu").is_cpu());
}

TEST(DeviceTest, CudaWorksOrSaysWhyNot) {
  Json cuda = describe_devices().at("cuda");
  if (cuda.at("available").as_bool()) {
    EXPECT_TRUE(device_from_string("cuda").is_cuda());
    expect_error(ErrorCode::kInvalidArgument, "cuda:99", [] { device_from_string("cuda:99"); });
  } else {
    EXPECT_FALSE(cuda.at("reason").as_string().empty());
    expect_error(ErrorCode::kUnavailable,
                 "cuda cannot be used: ", [] { device_from_string("cuda"); });
  }
}

TEST(DeviceTest, UnknownNamesAreRefused) {
  for (const char* name : {"", "gpu", "CPU", "cpu:0", "cudax", "mps"}) {
    expect_error(ErrorCode::kInvalidArgument, "expected \"cpu\"",
                 [&] { device_from_string(name); });
  }
  for (const char* name : {"cuda:", "cuda:x", "cuda:-1", "cuda:99999999999999999999"}) {
    EXPECT_THROW(device_from_string(name), Error) << name;
  }
  EXPECT_EQ(dtype_from_string("bf16"), at::kBFloat16);
  EXPECT_EQ(dtype_from_string("float16"), at::kHalf);
  expect_error(ErrorCode::kInvalidArgument, "int8", [] { dtype_from_string("int8"); });
}

TEST(DeviceTest, DescribesTheMachine) {
  Json d = describe_devices();
  EXPECT_EQ(d.at("cpu").at("threads").as_int(), threads());
  EXPECT_TRUE(d.at("cpu").at("features").is_array());
  EXPECT_FALSE(d.at("torch").as_string().empty());
}

TEST(ThreadsTest, ParallelForUsesTwoThreads) {
  int before = threads();
  set_threads(2);
  ASSERT_EQ(threads(), 2);
  std::mutex mutex;
  std::set<std::thread::id> seen;
  at::parallel_for(0, 2, 1, [&](int64_t, int64_t) {
    {
      std::lock_guard lock(mutex);
      seen.insert(std::this_thread::get_id());
    }
    // Long enough that one thread cannot take both pieces before the other wakes.
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  });
  EXPECT_EQ(seen.size(), 2u) << "at::parallel_for ran serially: is this compiled without -fopenmp?";
  set_threads(before);
}

TEST(ThreadsTest, TheProcessHasOneOpenMp) {
  std::set<std::string> runtimes;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    size_t slash = line.find('/');
    if (slash == std::string::npos) continue;
    std::string file = line.substr(line.rfind('/') + 1);
    if (file.starts_with("libgomp") || file.starts_with("libomp") || file.starts_with("libiomp")) {
      runtimes.insert(line.substr(slash));
    }
  }
  EXPECT_EQ(runtimes.size(), 1u) << testing::PrintToString(runtimes);
}

TEST(ThreadsTest, ZeroKeepsTheSetting) {
  int before = threads();
  set_threads(0);
  set_threads(-3);
  EXPECT_EQ(threads(), before);
}

}  // namespace
}  // namespace plait
