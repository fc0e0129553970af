#pragma once
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include "plait/train/trust/trust_data.h"

namespace plait::train {

constexpr int64_t kClasses = 4;
constexpr int64_t kViews = 3;

/// Three views of Gaussian classes, `offset` + `unit` · x; the first separates them best.
inline TrustData gaussian_classes(int64_t n, uint64_t seed, double offset = 0, double unit = 1) {
  auto means_from = at::detail::createCPUGenerator(3);
  auto generator = at::detail::createCPUGenerator(seed);
  TrustData data;
  data.target = at::randint(kClasses, {n}, generator, at::kLong);
  for (int64_t m = 0; m < kViews; ++m) {
    at::Tensor means =
        at::randn({kClasses, 6 + m}, means_from) * (1.6 - 0.3 * static_cast<double>(m));
    data.features.push_back(
        {offset + unit * (means.index_select(0, data.target) + at::randn({n, 6 + m}, generator))});
  }
  data.present = at::ones({n, kViews}, at::kBool);
  return data;
}

}  // namespace plait::train
