#include "plait/runtime/packed_matrix.h"

#include <ATen/ATen.h>

namespace plait::runtime {
namespace {

template <class T>
T* take_from(std::vector<std::vector<T>>& parts, size_t& used, int64_t count) {
  if (used == parts.size()) parts.emplace_back();
  std::vector<T>& part = parts[used++];
  if (part.size() < static_cast<size_t>(count)) part.resize(static_cast<size_t>(count));
  return part.data();
}

}  // namespace

std::vector<float> numbers(const at::Tensor& tensor) {
  at::Tensor flat = tensor.detach().to(at::kCPU, at::kFloat).contiguous();
  const float* begin = flat.const_data_ptr<float>();
  return {begin, begin + flat.numel()};
}

PackedMatrix::PackedMatrix(const at::Tensor& matrix)
    : inputs_(matrix.size(0)),
      columns_(matrix.size(1)),
      blocks_((columns_ + Panels::kLanes - 1) / Panels::kLanes) {
  const std::vector<float> rows = numbers(matrix);
  values_.assign(static_cast<size_t>(blocks_ * inputs_ * Panels::kLanes), 0.0F);
  for (int64_t d = 0; d < inputs_; ++d) {
    for (int64_t o = 0; o < columns_; ++o) {
      const int64_t to = ((o / Panels::kLanes) * inputs_ + d) * Panels::kLanes + o % Panels::kLanes;
      values_[static_cast<size_t>(to)] = rows[static_cast<size_t>(d * columns_ + o)];
    }
  }
}

PackedLinear::PackedLinear(const at::Tensor& weight, const at::Tensor& bias)
    : weight_(weight.t()), bias_(numbers(bias)) {
  bias_.resize(static_cast<size_t>(room()), 0.0F);
}

void PackedLinear::apply(const VectorLoops& loops, const float* x, int64_t stride, int64_t rows,
                         float* out) const {
  const int64_t room = this->room();
  const float* bias = bias_.data();
  loops.multiply(weight_.panels(), x, stride, rows, out, room);
  for (int64_t i = 0; i < rows; ++i, out += room) {
    for (int64_t o = 0; o < room; ++o) out[o] += bias[o];
  }
}

float* Arena::take(int64_t count) { return take_from(parts_, used_, count); }
double* Arena::take_doubles(int64_t count) { return take_from(doubles_, used_doubles_, count); }

}  // namespace plait::runtime
