#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>

/// Scalar functions of the trust engine, as their tensor operators.
namespace plait::runtime {

/// `out` may be `x`.
inline void log_softmax(const float* x, int64_t count, float* out) {
  const float most = *std::max_element(x, x + count);
  float sum = 0;
  for (int64_t k = 0; k < count; ++k) sum += std::exp(x[k] - most);
  const float log_sum = std::log(sum);
  for (int64_t k = 0; k < count; ++k) out[k] = x[k] - most - log_sum;
}

/// `out` may be `x`.
inline void softmax(const float* x, int64_t count, float* out) {
  const float most = *std::max_element(x, x + count);
  float sum = 0;
  for (int64_t k = 0; k < count; ++k) sum += out[k] = std::exp(x[k] - most);
  for (int64_t k = 0; k < count; ++k) out[k] /= sum;
}

inline float sigmoid(float x) { return 1 / (1 + std::exp(-x)); }

/// In eight sums: shorter chains of roundings, and the compiler may vectorise them.
inline float sum_of_squares(const float* x, int64_t count) {
  float part[8] = {};
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    for (int64_t j = 0; j < 8; ++j) part[j] += x[i + j] * x[i + j];
  }
  for (; i < count; ++i) part[0] += x[i] * x[i];
  return ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]));
}

inline float dot(const float* a, const float* b, int64_t count) {
  float part[4] = {};
  int64_t i = 0;
  for (; i + 4 <= count; i += 4) {
    for (int64_t j = 0; j < 4; ++j) part[j] += a[i + j] * b[i + j];
  }
  for (; i < count; ++i) part[0] += a[i] * b[i];
  return (part[0] + part[1]) + (part[2] + part[3]);
}

}  // namespace plait::runtime
