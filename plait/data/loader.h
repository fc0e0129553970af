#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "plait/data/dataset.h"

namespace plait::data {

/// What to do with an item that cannot be read.
enum class OnError {
  kRaise,  ///< next() throws the item's error; the loader can go on afterwards.
  kSkip,   ///< The item is left out and counted in skipped(); a batch may come out smaller.
};

struct LoaderOptions {
  int64_t batch_size = 32;
  bool shuffle = false;
  bool drop_last = false;
  uint64_t seed = 0;
  int64_t workers = 2;           ///< Threads of the loader's own; 0 works in the caller's thread.
  int64_t prefetch_batches = 4;  ///< Batches in flight or waiting at most.
  int64_t max_bytes =
      int64_t{1}
      << 30;  ///< Batches that wait hold at most this much (one batch is always let through).
  OnError on_error = OnError::kRaise;
  std::vector<std::string> labels = {};
  /// Changes an item before it is collated (augmentation); `seed` is mix_seed(seed, epoch, index)
  /// whatever the workers.
  std::function<void(Sample& sample, uint64_t seed)> transform = {};
};

/// Loads batches in the background. Batches come in an order that depends on seed and epoch alone,
/// never on the number of workers. One thread calls start() and next(); cancel() may come from any
/// thread.
class Loader {
 public:
  Loader(std::shared_ptr<const Dataset> dataset, Processors processors, LoaderOptions options = {});
  Loader(std::shared_ptr<StreamingDataset> stream, Processors processors,
         LoaderOptions options = {});
  ~Loader();  ///< Cancels and joins the workers.

  /// Begins an epoch; a running one is cancelled. `first_batch` skips batches without reading them
  /// (resuming).
  void start(int64_t epoch = 0, int64_t first_batch = 0);
  /// The next batch, or nothing at the end of the epoch or after cancel(). @throws Error of an item
  /// under kRaise.
  std::optional<Batch> next();
  void cancel();
  /// Batches of an epoch; -1 for a stream.
  int64_t batches() const;

  struct Skipped {
    int64_t index;
    std::string message;
  };
  /// The items that this epoch left out: their number and the first hundred.
  int64_t skipped_count() const;
  std::vector<Skipped> skipped() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace plait::data
