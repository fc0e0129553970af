#include "plait/core/parallel.h"

#include <ATen/core/grad_mode.h>
#include <omp.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "plait/core/device.h"

namespace plait {

void for_each_in_parallel(size_t count, const std::function<void(size_t)>& work,
                          const std::function<void(size_t)>& progress) {
  const size_t workers = std::min<size_t>(static_cast<size_t>(std::max(threads(), 1)), count);
  if (workers < 2 || count < 4) {
    for (size_t i = 0; i < count; ++i) {
      work(i);
      if (progress) progress(i + 1);
    }
    return;
  }
  std::atomic<size_t> next{0}, done{0};
  std::exception_ptr failure;
  std::mutex guard;
  auto run = [&](bool reports) {
    at::NoGradGuard no_grad;
    SerialScope serial;
    for (size_t i = next++; i < count; i = next++) {
      try {
        work(i);
        ++done;
        if (reports) progress(done);
      } catch (...) {
        std::lock_guard lock(guard);
        if (!failure) failure = std::current_exception();
        next = count;
      }
    }
  };
  std::vector<std::thread> pool;
  for (size_t w = 1; w < workers; ++w) pool.emplace_back(run, false);
  run(static_cast<bool>(progress));
  for (std::thread& t : pool) t.join();
  if (failure) std::rethrow_exception(failure);
  if (progress) progress(count);
}

SerialScope::SerialScope() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
SerialScope::~SerialScope() { omp_set_num_threads(before_); }

}  // namespace plait
