#pragma once
#include <cstdint>
#include <functional>

namespace plait::runtime {

/// Multiply-adds that `work` does on this thread: matrix products, convolutions, attention and
/// recurrent layers by the shapes that they are called with; everything else (norms, activations,
/// sums) is not counted, as usual in the field. Independent of device and number type. Not for
/// nested use.
int64_t count_multiply_adds(const std::function<void()>& work);

/// Counts what is done without tensor operators, on this thread.
void add_multiply_adds(int64_t count);

}  // namespace plait::runtime
