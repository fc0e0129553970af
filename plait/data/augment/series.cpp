#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "plait/data/augment/kinds.h"

namespace plait::data {
namespace {

/// The series as a clock saw it that runs too fast or too slow by up to half: read between its
/// values, turned round at the end.
at::Tensor skew(const at::Tensor& series, double severity, uint64_t seed) {
  DamageRandom random(seed);
  const double rate = random.uniform() < 0.5 ? 1 + 0.5 * severity : 1 / (1 + 0.5 * severity);
  const auto last = static_cast<double>(series.size(0) - 1);
  std::vector<int64_t> below(static_cast<size_t>(series.size(0)));
  std::vector<float> share(below.size());
  for (size_t i = 0; i < below.size(); ++i) {
    double place = std::min(rate * static_cast<double>(i), 2 * last);
    if (place > last) place = 2 * last - place;
    below[i] = std::clamp<int64_t>(static_cast<int64_t>(place), 0, series.size(0) - 1);
    share[i] = static_cast<float>(place - static_cast<double>(below[i]));
  }
  at::Tensor from = at::tensor(below), weight = at::tensor(share);
  if (series.dim() == 2) weight = weight.unsqueeze(1);
  at::Tensor a = series.index_select(0, from);
  at::Tensor b = series.index_select(0, (from + 1).clamp_max(series.size(0) - 1));
  // Where it falls on a value the next one, which may be missing, does not count.
  return at::where(weight > 0, a + weight * (b - a), a);
}

}  // namespace

at::Tensor damage_series(const at::Tensor& series, const std::string& kind, double severity,
                         uint64_t seed) {
  at::Tensor out = series.to(at::kFloat).contiguous().clone();
  if (kind == "clock_skew") return skew(out, severity, seed);
  int64_t t = out.size(0), channels = out.dim() == 2 ? out.size(1) : 1;
  float* data = out.data_ptr<float>();
  for (int64_t c = 0; c < channels; ++c) {
    DamageRandom random(seed + 7919 * static_cast<uint64_t>(c));
    auto at = [&](int64_t i) -> float& { return data[i * channels + c]; };
    double sum = 0, squares = 0;
    int64_t count = 0;
    for (int64_t i = 0; i < t; ++i) {
      if (!std::isfinite(at(i))) continue;
      sum += at(i);
      squares += static_cast<double>(at(i)) * at(i);
      ++count;
    }
    double mean = count ? sum / count : 0;
    double spread = count ? std::sqrt(std::max(squares / count - mean * mean, 0.0)) : 0;
    if (spread <= 0) spread = std::max(std::fabs(mean), 1.0);
    double sign = random.uniform() < 0.5 ? -1 : 1;

    if (kind == "drift") {
      for (int64_t i = 0; i < t; ++i) {
        at(i) += static_cast<float>(sign * 6 * severity * spread * static_cast<double>(i) /
                                    std::max<int64_t>(t - 1, 1));
      }
    } else if (kind == "noise") {
      for (int64_t i = 0; i < t; ++i)
        at(i) += static_cast<float>(2 * severity * spread * random.normal());
    } else if (kind == "spikes") {
      for (int64_t i = 0; i < t; ++i) {
        double u = random.uniform(),
               size = (5 + 5 * random.uniform()) * spread * (random.uniform() < 0.5 ? -1 : 1);
        if (u < 0.2 * severity) at(i) += static_cast<float>(size);
      }
    } else if (kind == "dropout") {
      for (int64_t i = 0; i < t; ++i) {
        if (random.uniform() < 0.8 * severity) at(i) = std::numeric_limits<float>::quiet_NaN();
      }
    } else {
      // Stuck: one run from a seeded start whose length grows to nine tenths of the series.
      int64_t length =
          std::clamp<int64_t>(std::llround(0.9 * severity * static_cast<double>(t)), 1, t);
      int64_t start = static_cast<int64_t>(random.uniform() * static_cast<double>(t - length + 1));
      for (int64_t i = start; i < std::min(t, start + length); ++i) at(i) = at(start);
    }
  }
  return out;
}

}  // namespace plait::data
