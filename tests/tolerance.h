#pragma once
#include <ATen/core/Tensor.h>
#include <c10/core/ScalarType.h>

/// How far two results may be apart, per dtype: |a - b| ≤ absolute + relative · max|b|.
namespace plait::tests {

struct Tolerance {
  double absolute;
  double relative;
};

/// Two implementations of one formula on the same inputs.
inline Tolerance parity(c10::ScalarType dtype) {
  switch (dtype) {
    case c10::ScalarType::Double: return {1e-10, 1e-10};
    case c10::ScalarType::Float: return {1e-5, 1e-5};
    case c10::ScalarType::Half: return {2e-3, 2e-2};
    default: return {1e-2, 8e-2};  // bfloat16: 8 bits of mantissa, errors grow through the layers.
  }
}

/// The same implementation on a row alone and in a batch: only the order of sums may differ.
inline Tolerance batching(c10::ScalarType dtype) {
  return dtype == c10::ScalarType::Float ? Tolerance{1e-6, 5e-6} : parity(dtype);
}

}  // namespace plait::tests
