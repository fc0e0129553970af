#include "plait/data/series/series_features.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "plait/core/error.h"
#include "plait/core/tensor_map.h"

namespace plait::data {
namespace {

constexpr int64_t kLags[] = {1, 2, 4, 8, 16};
constexpr int64_t kBands = 10;
constexpr int64_t kPerChannel = 7 + 5 + kBands;
/// Below this share of a unit there is only the sensor's own noise.
constexpr double kStill = 1e-3;

using Series = std::vector<double>;

void fill_gaps(Series& x) {
  const auto n = static_cast<int64_t>(x.size());
  int64_t before = -1;
  for (int64_t i = 0; i <= n; ++i) {
    if (i < n && !std::isfinite(x[i])) continue;
    for (int64_t j = before + 1; j < i; ++j) {
      if (before < 0 || i == n) {
        x[j] = before >= 0 ? x[before] : i < n ? x[i] : 0;
      } else {
        double share = static_cast<double>(j - before) / static_cast<double>(i - before);
        x[j] = x[before] + share * (x[i] - x[before]);
      }
    }
    before = i;
  }
}

/// Shares of power by band of the spectrum of `x` (mean 0), under a Hann window.
void add_bands(const Series& x, std::vector<float>& out) {
  const auto n = static_cast<int64_t>(x.size());
  at::Tensor values = at::empty({n}, at::kDouble);
  double* v = values.data_ptr<double>();
  for (int64_t i = 0; i < n; ++i)
    v[i] =
        x[i] *
        (0.5 - 0.5 * std::cos(2 * M_PI * (static_cast<double>(i) + 0.5) / static_cast<double>(n)));
  at::Tensor power = at::view_as_real(at::fft_rfft(values)).square().sum(-1).contiguous();
  const double* p = power.const_data_ptr<double>();
  const int64_t bins = power.size(0) - 1;  // Without the mean.
  double total = 1e-12;
  for (int64_t i = 1; i <= bins; ++i) total += p[i];
  for (int64_t band = 0; band < kBands; ++band) {
    auto edge = [&](int64_t k) {
      return std::pow(static_cast<double>(bins + 1), static_cast<double>(k) / kBands);
    };
    // A bin belongs to the bands that it overlaps, in proportion: low bands are narrower than one.
    double sum = 0, low = edge(band), high = edge(band + 1);
    for (auto i = static_cast<int64_t>(low); i <= bins && static_cast<double>(i) < high; ++i) {
      double overlap =
          std::min(high, static_cast<double>(i + 1)) - std::max(low, static_cast<double>(i));
      if (i >= 1) sum += p[i] * std::max(overlap, 0.0);
    }
    out.push_back(static_cast<float>(std::log(sum / total + 1e-3)));
  }
}

struct Moments {
  double mean = 0, deviation = 0;
};

Moments moments(const Series& x) {
  Moments m;
  for (double v : x) m.mean += v;
  m.mean /= static_cast<double>(x.size());
  for (double v : x) m.deviation += (v - m.mean) * (v - m.mean);
  m.deviation = std::sqrt(m.deviation / static_cast<double>(x.size()));
  return m;
}

void add_channel(const Series& raw, std::vector<float>& out) {
  const size_t n = raw.size();
  const Moments m = moments(raw);
  Series x = raw;
  double step = 0, crossings = 0, power = m.deviation * m.deviation + 1e-12;
  for (double& v : x) v -= m.mean;
  for (size_t i = 1; i < n; ++i) {
    step += std::fabs(x[i] - x[i - 1]);
    crossings += (x[i] > 0) != (x[i - 1] > 0);
  }
  const double steps = static_cast<double>(std::max<size_t>(n - 1, 1));
  auto add = [&](double v) { out.push_back(static_cast<float>(v)); };
  add(m.mean);
  add(std::log(m.deviation + kStill));
  add(std::log(step / steps + kStill));
  Series sorted = x;
  std::sort(sorted.begin(), sorted.end());
  for (double share : {0.1, 0.5, 0.9}) {
    add(sorted[static_cast<size_t>(share * static_cast<double>(n - 1))] / (m.deviation + kStill));
  }
  add(crossings / steps);
  for (int64_t lag : kLags) {
    double sum = 0;
    for (size_t i = static_cast<size_t>(lag); i < n; ++i)
      sum += x[i] * x[i - static_cast<size_t>(lag)];
    add(sum / (static_cast<double>(n) * power));
  }
  add_bands(x, out);
}

double correlation(const Series& a, const Series& b) {
  const Moments ma = moments(a), mb = moments(b);
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - ma.mean) * (b[i] - mb.mean);
  return sum / (static_cast<double>(a.size()) * ma.deviation * mb.deviation + 1e-12);
}

}  // namespace

int64_t series_feature_count(int64_t channels) {
  return kPerChannel * (channels > 1 ? channels + 1 : 1) + channels * (channels - 1) / 2;
}

at::Tensor series_features(const at::Tensor& series) {
  if (!series.defined() || series.dim() < 1 || series.dim() > 2 || series.numel() == 0 ||
      series.is_complex()) {
    fail(ErrorCode::kInvalidArgument, "series",
         "expected a series [T, C] with a value or more, got " + describe(series));
  }
  at::Tensor values = series.to(at::kDouble).contiguous();
  const int64_t steps = values.size(0), channels = values.dim() == 2 ? values.size(1) : 1;
  const double* p = values.const_data_ptr<double>();
  std::vector<Series> all(static_cast<size_t>(channels), Series(static_cast<size_t>(steps)));
  for (int64_t c = 0; c < channels; ++c) {
    Series& own = all[static_cast<size_t>(c)];
    for (int64_t i = 0; i < steps; ++i) own[static_cast<size_t>(i)] = p[i * channels + c];
    fill_gaps(own);
    // Sensors do not measure beyond; squares of what is left are finite.
    for (double& v : own) v = std::clamp(v, -1e9, 1e9);
  }
  std::vector<float> out;
  for (const Series& own : all) add_channel(own, out);
  if (channels > 1) {
    Series length(static_cast<size_t>(steps), 0);
    for (const Series& own : all) {
      for (size_t i = 0; i < length.size(); ++i) length[i] += own[i] * own[i];
    }
    for (double& v : length) v = std::sqrt(v);
    add_channel(length, out);
  }
  for (size_t a = 0; a < all.size(); ++a) {
    for (size_t b = a + 1; b < all.size(); ++b)
      out.push_back(static_cast<float>(correlation(all[a], all[b])));
  }
  return at::tensor(out);
}

}  // namespace plait::data
