#pragma once
#include <cstddef>
#include <functional>

namespace plait::api {

/// Calls work(i) for 0 ≤ i < count from as many threads as torch uses; the first exception passes
/// on. Decoding waits for files and runs outside torch's pool, so a few threads of its own serve
/// it.
void for_each_in_parallel(size_t count, const std::function<void(size_t)>& work);

}  // namespace plait::api
