#include "plait/data/loader.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <omp.h>

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <numeric>
#include <thread>

#include "plait/core/error.h"
#include "plait/core/hash.h"

namespace plait::data {
namespace {

constexpr const char* kUnit = "loader";
constexpr size_t kMaxReports = 100;

/// One thread per worker: operators of a worker must not start teams of their own beside the
/// trainer's.
void stay_serial() {
  at::get_num_threads();  // Sets the thread up, which would undo the next line later.
  omp_set_num_threads(1);
}

int64_t bytes_of(const Batch& batch) {
  int64_t bytes = 0;
  for (const auto& [name, stream] : batch.streams) {
    for (const auto& [key, tensor] : stream.inputs) bytes += static_cast<int64_t>(tensor.nbytes());
  }
  return bytes;
}

/// Items of one batch: indices in the dataset (or in the stream's order), and what a stream gave.
struct Job {
  int64_t sequence = 0;
  std::vector<int64_t> indices;
  std::vector<Sample> samples;
  std::exception_ptr error;
};

struct Result {
  std::optional<Batch> batch;  ///< Nothing when all items were skipped.
  std::exception_ptr error;
  int64_t bytes = 0;
};

}  // namespace

struct Loader::State {
  std::shared_ptr<const Dataset> dataset;
  std::shared_ptr<StreamingDataset> stream;
  Processors processors;
  LoaderOptions options;

  std::mutex mutex;
  std::condition_variable changed;
  std::mutex source;  ///< Held while a worker draws a job, so that jobs come in order.
  std::vector<std::thread> threads;
  std::map<int64_t, Result> ready;
  std::vector<int64_t> order;
  std::vector<Skipped> skipped;
  int64_t skipped_count = 0;
  int64_t epoch = 0;
  int64_t drawn = 0;      ///< Jobs taken by workers.
  int64_t delivered = 0;  ///< Batches that next() passed.
  int64_t stream_index = 0;
  int64_t waiting_bytes = 0;
  bool exhausted = true;
  bool stop = false;

  ~State() { halt(); }

  void halt() {
    {
      std::lock_guard lock(mutex);
      stop = true;
    }
    changed.notify_all();
    for (std::thread& thread : threads) thread.join();
    threads.clear();
    ready.clear();
    waiting_bytes = 0;
  }

  int64_t batches() const {
    if (stream) return -1;
    int64_t n = dataset->size();
    return options.drop_last ? n / options.batch_size
                             : (n + options.batch_size - 1) / options.batch_size;
  }

  void shuffle() {
    order.resize(static_cast<size_t>(dataset->size()));
    std::iota(order.begin(), order.end(), 0);
    if (!options.shuffle) return;
    for (size_t i = order.size(); i > 1; --i) {
      uint64_t random = mix_seed(options.seed, static_cast<uint64_t>(epoch), i);
      std::swap(order[i - 1], order[random % i]);
    }
  }

  /// The next job, or false at the end. Called by one thread at a time.
  bool draw(Job& job) {
    if (!stream) {
      if (drawn >= batches()) return false;
      auto begin = static_cast<size_t>(drawn * options.batch_size);
      size_t end = std::min(begin + static_cast<size_t>(options.batch_size), order.size());
      job.indices.assign(order.begin() + static_cast<int64_t>(begin),
                         order.begin() + static_cast<int64_t>(end));
      return true;
    }
    try {
      while (static_cast<int64_t>(job.samples.size()) < options.batch_size) {
        std::optional<Sample> sample = stream->next();
        if (!sample) break;
        job.indices.push_back(stream_index++);
        job.samples.push_back(std::move(*sample));
      }
    } catch (...) {
      // The stream itself is broken: nothing comes after this, whatever the policy.
      job.error = std::current_exception();
      return true;
    }
    auto count = static_cast<int64_t>(job.samples.size());
    return count == options.batch_size || (count > 0 && !options.drop_last);
  }

  Sample item(const Job& job, size_t i) const {
    Sample sample = stream ? job.samples[i] : dataset->get(job.indices[i]);
    if (options.transform) {
      options.transform(sample, mix_seed(options.seed, static_cast<uint64_t>(epoch),
                                         static_cast<uint64_t>(job.indices[i])));
    }
    return sample;
  }

  /// Leaves an item out, or throws on.
  void bad_item(int64_t index) {
    if (options.on_error == OnError::kRaise) throw;
    std::string message = "unknown error";
    try {
      throw;
    } catch (const Error& e) {
      message = e.what();
    }
    std::lock_guard lock(mutex);
    ++skipped_count;
    if (skipped.size() < kMaxReports) skipped.push_back({index, message});
  }

  std::optional<Batch> make(const Job& job) {
    if (job.error) std::rethrow_exception(job.error);
    std::vector<Sample> samples;
    std::vector<int64_t> indices;
    for (size_t i = 0; i < job.indices.size(); ++i) {
      try {
        samples.push_back(item(job, i));
        indices.push_back(job.indices[i]);
      } catch (const Error&) {
        bad_item(job.indices[i]);
      }
    }
    if (samples.empty()) return std::nullopt;
    try {
      return collate(samples, processors, options.labels);
    } catch (const Error&) {
      if (samples.size() == 1 && options.on_error == OnError::kRaise) throw;
    }
    // One by one finds the items at fault and names them.
    std::vector<Sample> good;
    for (size_t i = 0; i < samples.size(); ++i) {
      try {
        collate({samples[i]}, processors, options.labels);
        good.push_back(std::move(samples[i]));
      } catch (const Error&) {
        bad_item(indices[i]);
      }
    }
    if (good.empty()) return std::nullopt;
    return collate(good, processors, options.labels);
  }

  Result run(const Job& job) {
    Result result;
    try {
      result.batch = make(job);
      if (result.batch) result.bytes = bytes_of(*result.batch);
    } catch (...) {
      result.error = std::current_exception();
    }
    return result;
  }

  bool may_draw() const {
    int64_t ahead = drawn - delivered;
    return ahead == 0 || (ahead < options.prefetch_batches && waiting_bytes < options.max_bytes);
  }

  /// Takes a job and gives it its number; false when there is nothing more to do.
  bool take(Job& job) {
    {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return stop || exhausted || may_draw(); });
      if (stop || exhausted) return false;
    }
    std::lock_guard order_lock(source);
    {
      std::lock_guard lock(mutex);
      if (stop || exhausted) return false;
      // Another worker may have taken the room meanwhile.
      if (!may_draw()) return true;
    }
    bool some = draw(job);
    std::lock_guard lock(mutex);
    if (!some || job.error) exhausted = true;
    if (some) job.sequence = ++drawn;
    if (exhausted) changed.notify_all();
    return some;
  }

  void work() {
    stay_serial();
    while (true) {
      Job job;
      if (!take(job)) return;
      if (job.sequence == 0) continue;
      Result result = run(job);
      {
        std::lock_guard lock(mutex);
        if (stop) return;
        waiting_bytes += result.bytes;
        ready.emplace(job.sequence, std::move(result));
      }
      changed.notify_all();
    }
  }

  /// The result of the next batch in order; nothing at the end.
  std::optional<Result> wait() {
    if (threads.empty()) {
      Job job;
      {
        std::lock_guard lock(mutex);
        if (stop || exhausted) return std::nullopt;
      }
      bool some = draw(job);
      if (!some || job.error) exhausted = true;
      if (!some) return std::nullopt;
      ++drawn;
      ++delivered;
      return run(job);
    }
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] {
      return stop || ready.count(delivered + 1) || (exhausted && delivered == drawn);
    });
    if (stop) return std::nullopt;
    auto found = ready.find(delivered + 1);
    if (found == ready.end()) return std::nullopt;
    Result result = std::move(found->second);
    ready.erase(found);
    waiting_bytes -= result.bytes;
    ++delivered;
    lock.unlock();
    changed.notify_all();
    return result;
  }
};

Loader::Loader(std::shared_ptr<const Dataset> dataset, Processors processors, LoaderOptions options)
    : state_(std::make_unique<State>()) {
  require(dataset != nullptr, kUnit, "expected a dataset");
  require(options.batch_size > 0 && options.workers >= 0 && options.workers <= 256 &&
              options.prefetch_batches > 0,
          kUnit, "expected a positive batch_size, 0 to 256 workers and positive prefetch_batches");
  state_->dataset = std::move(dataset);
  state_->processors = std::move(processors);
  state_->options = std::move(options);
}

Loader::Loader(std::shared_ptr<StreamingDataset> stream, Processors processors,
               LoaderOptions options)
    : state_(std::make_unique<State>()) {
  require(stream != nullptr, kUnit, "expected a stream");
  require(!options.shuffle, kUnit, "expected shuffle only with a dataset that has indices");
  require(options.batch_size > 0 && options.workers >= 0 && options.workers <= 256 &&
              options.prefetch_batches > 0,
          kUnit, "expected a positive batch_size, 0 to 256 workers and positive prefetch_batches");
  state_->stream = std::move(stream);
  state_->processors = std::move(processors);
  state_->options = std::move(options);
}

Loader::~Loader() = default;

void Loader::start(int64_t epoch, int64_t first_batch) {
  State& s = *state_;
  require(first_batch >= 0, kUnit, "expected first_batch of at least 0");
  s.halt();
  s.stop = false;
  s.exhausted = false;
  s.epoch = epoch;
  s.drawn = s.delivered = 0;
  s.stream_index = 0;
  s.skipped.clear();
  s.skipped_count = 0;
  if (s.stream) {
    s.stream->rewind();
    Job job;
    for (int64_t i = 0; i < first_batch && s.draw(job); ++i) job = {};
  } else {
    s.shuffle();
    s.drawn = s.delivered = std::min(first_batch, s.batches());
  }
  for (int64_t i = 0; i < s.options.workers; ++i) s.threads.emplace_back([&s] { s.work(); });
}

std::optional<Batch> Loader::next() {
  while (true) {
    std::optional<Result> result = state_->wait();
    if (!result) return std::nullopt;
    if (result->error) std::rethrow_exception(result->error);
    if (result->batch) return std::move(result->batch);
  }
}

void Loader::cancel() {
  {
    std::lock_guard lock(state_->mutex);
    state_->stop = true;
  }
  state_->changed.notify_all();
}

int64_t Loader::batches() const { return state_->batches(); }

int64_t Loader::skipped_count() const {
  std::lock_guard lock(state_->mutex);
  return state_->skipped_count;
}

std::vector<Loader::Skipped> Loader::skipped() const {
  std::lock_guard lock(state_->mutex);
  std::vector<Skipped> out = state_->skipped;
  std::sort(out.begin(), out.end(),
            [](const Skipped& a, const Skipped& b) { return a.index < b.index; });
  return out;
}

}  // namespace plait::data
