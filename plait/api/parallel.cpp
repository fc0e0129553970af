#include "plait/api/parallel.h"

#include <ATen/core/grad_mode.h>
#include <omp.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "plait/core/device.h"

namespace plait::api {

void for_each_in_parallel(size_t count, const std::function<void(size_t)>& work) {
  const size_t workers = std::min<size_t>(static_cast<size_t>(std::max(threads(), 1)), count);
  if (workers < 2 || count < 4) {
    for (size_t i = 0; i < count; ++i) work(i);
    return;
  }
  std::atomic<size_t> next{0};
  std::exception_ptr failure;
  std::mutex guard;
  auto run = [&] {
    at::NoGradGuard no_grad;
    SerialScope serial;
    for (size_t i = next++; i < count; i = next++) {
      try {
        work(i);
      } catch (...) {
        std::lock_guard lock(guard);
        if (!failure) failure = std::current_exception();
        next = count;
      }
    }
  };
  std::vector<std::thread> pool;
  for (size_t w = 1; w < workers; ++w) pool.emplace_back(run);
  run();
  for (std::thread& t : pool) t.join();
  if (failure) std::rethrow_exception(failure);
}

SerialScope::SerialScope() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
SerialScope::~SerialScope() { omp_set_num_threads(before_); }

}  // namespace plait::api
