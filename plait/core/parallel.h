#pragma once
#include <cstddef>
#include <functional>

namespace plait {

/// Calls work(i) for 0 ≤ i < count from as many threads as torch uses; the first exception ends the
/// rest and passes on. Decoding waits for files and runs outside torch's pool, so a few threads of
/// its own serve it. `progress` is called by the caller's thread with the number that is done.
void for_each_in_parallel(size_t count, const std::function<void(size_t)>& work,
                          const std::function<void(size_t)>& progress = {});

/// While it lives, tensor operations of this thread run on this thread alone. Preparing an item
/// means many operations on little tensors, for which waking other threads costs more than it gains
/// (and far more when the machine is busy).
class SerialScope {
 public:
  SerialScope();
  ~SerialScope();
  SerialScope(const SerialScope&) = delete;
  SerialScope& operator=(const SerialScope&) = delete;

 private:
  int before_;
};

}  // namespace plait
