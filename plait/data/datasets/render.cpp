#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <mutex>
#include <thread>

#include "plait/core/error.h"
#include "plait/core/log.h"
#include "plait/data/datasets/prepare.h"
#include "plait/data/packages/process.h"

namespace plait::data {

void for_each_parallel(size_t count, const std::function<void(size_t)>& work,
                       const std::function<void(size_t)>& progress) {
  std::atomic<size_t> next{0}, done{0};
  std::atomic<int> running{0};
  std::exception_ptr problem;
  std::mutex mutex;
  auto keep = [&] {
    std::lock_guard lock(mutex);
    if (!problem) problem = std::current_exception();
    next = count;
  };
  std::vector<std::thread> threads;
  size_t workers = std::min<size_t>(std::max(1u, std::thread::hardware_concurrency()),
                                    std::max<size_t>(count, 1));
  running = static_cast<int>(workers);
  for (size_t i = 0; i < workers; ++i) {
    threads.emplace_back([&] {
      try {
        for (size_t item; (item = next.fetch_add(1)) < count;) {
          work(item);
          ++done;
        }
      } catch (...) {
        keep();
      }
      --running;
    });
  }
  while (running > 0) {
    try {
      if (progress) progress(done);
    } catch (...) {
      keep();
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  for (std::thread& thread : threads) thread.join();
  if (problem) std::rethrow_exception(problem);
}

std::vector<bool> render_svgs(const std::vector<SvgJob>& jobs, const std::string& what,
                              const Progress& progress) {
  try {
    run_checked({"rsvg-convert", "--version"});
  } catch (const Error& error) {
    fail(ErrorCode::kUnavailable, "datasets",
         what + " needs rsvg-convert (Debian: apt-get install librsvg2-bin): " + error.what());
  }
  std::vector<char> good(jobs.size(), 0);
  for_each_parallel(
      jobs.size(),
      [&](size_t i) {
        const SvgJob& job = jobs[i];
        std::string size = std::to_string(job.size);
        try {
          ProcessOptions options;
          options.timeout = std::chrono::seconds(20);
          ProcessResult result = run_process({"rsvg-convert", "--width", size, "--height", size,
                                              "--keep-aspect-ratio", "--output", job.png, job.svg},
                                             options);
          struct stat info {};
          good[i] = result.status == 0 && ::stat(job.png.c_str(), &info) == 0 && info.st_size > 0;
          if (!good[i])
            log_debug("datasets", "rsvg-convert refuses " + job.svg + ": " + last_words(result));
        } catch (const Error& error) {
          if (error.code() != ErrorCode::kResourceLimit) throw;
          log_debug("datasets", "rsvg-convert takes too long for " + job.svg);
        }
      },
      [&](size_t done) {
        if (progress) {
          progress({.step = "render",
                    .what = what,
                    .done = static_cast<int64_t>(done),
                    .total = static_cast<int64_t>(jobs.size()),
                    .unit = "pictures"});
        }
      });
  return {good.begin(), good.end()};
}

}  // namespace plait::data
