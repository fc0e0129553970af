#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "plait/runtime/vector_loops.h"

namespace plait::runtime {

/// Row by row.
std::vector<float> numbers(const at::Tensor& tensor);

/// A matrix packed for VectorLoops. Immutable.
class PackedMatrix {
 public:
  PackedMatrix() = default;
  /// [D, O]: D inputs, O columns.
  explicit PackedMatrix(const at::Tensor& matrix);
  Panels panels() const { return {values_.data(), inputs_, blocks_}; }
  int64_t inputs() const { return inputs_; }
  int64_t columns() const { return columns_; }
  /// Room for what VectorLoops write: columns rounded up to whole blocks.
  int64_t room() const { return blocks_ * Panels::kLanes; }
  int64_t multiply_adds() const { return inputs_ * columns_; }

 private:
  std::vector<float> values_;
  int64_t inputs_ = 0, columns_ = 0, blocks_ = 0;
};

/// y = x Wᵀ + b. Immutable.
class PackedLinear {
 public:
  /// As in models::Linear: weight [O, D], bias [O].
  PackedLinear(const at::Tensor& weight, const at::Tensor& bias);
  /// x [rows, ≥ D] at `stride` → out [rows, room()].
  void apply(const VectorLoops& loops, const float* x, int64_t stride, int64_t rows,
             float* out) const;
  int64_t inputs() const { return weight_.inputs(); }
  int64_t room() const { return weight_.room(); }
  int64_t multiply_adds() const { return weight_.multiply_adds(); }

 private:
  PackedMatrix weight_;
  std::vector<float> bias_;  ///< [room()]
};

/// Memory that grows to what was needed once and stays.
class Arena {
 public:
  /// Uninitialised; valid until the next `reset`.
  float* take(int64_t count);
  double* take_doubles(int64_t count);
  void reset() { used_ = used_doubles_ = 0; }

 private:
  std::vector<std::vector<float>> parts_;
  std::vector<std::vector<double>> doubles_;
  size_t used_ = 0, used_doubles_ = 0;
};

}  // namespace plait::runtime
