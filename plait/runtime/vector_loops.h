#pragma once
#include <cstdint>
#include <vector>

namespace plait::runtime {

/// Columns of a matrix, 16 side by side: value (d, o) at [o / 16][d][o % 16]. What lies beyond the
/// last column is 0.
struct Panels {
  static constexpr int64_t kLanes = 16;
  const float* values = nullptr;
  int64_t inputs = 0;  ///< D
  int64_t blocks = 0;  ///< Of 16 columns
};

/// The few loops that answers from calibrated experts are made of, for one kind of processor. Each
/// item's numbers depend on nothing but that item: batches answer like their items, to the last bit
/// on one machine. Thread-safe.
struct VectorLoops {
  const char* name;
  /// x [items, ≥ D] at `x_stride` → out [items, 16 · blocks] at `out_stride`: x · columns.
  void (*multiply)(const Panels& columns, const float* x, int64_t x_stride, int64_t items,
                   float* out, int64_t out_stride);
  /// The same with |x − column|², difference by difference: nothing is lost in rounding.
  void (*squared_distances)(const Panels& columns, const float* x, int64_t x_stride, int64_t items,
                            float* out, int64_t out_stride);
  /// exp(−rate · |x − column|²) to 1e-7, to 2e-8 where there are many inputs: differences in
  /// single, sums and exponentials in double precision. 0 below e⁻⁸⁷. `rounded`: the same in single
  /// precision.
  void (*kernels)(const Panels& columns, const float* x, int64_t x_stride, int64_t items,
                  double rate, double* out, float* rounded, int64_t out_stride);
  /// As `multiply`, in double precision.
  void (*multiply_doubles)(const Panels& columns, const double* x, int64_t x_stride, int64_t items,
                           double* out, int64_t out_stride);
  /// In place, to 2e-7 · max(|x|, 1); `count` is a multiple of Panels::kLanes.
  void (*gelu)(float* x, int64_t count);
};

/// What this processor can run, the fastest first; never empty.
const std::vector<const VectorLoops*>& vector_loops();

}  // namespace plait::runtime
