#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "plait/core/error.h"
#include "plait/models/quality/quality.h"

namespace plait::models {
namespace {

double median(std::vector<double> v) {
  if (v.empty()) return 0;
  std::nth_element(v.begin(), v.begin() + static_cast<int64_t>(v.size() / 2), v.end());
  return v[v.size() / 2];
}

double middle_of(std::array<double, 5> v) {
  std::nth_element(v.begin(), v.begin() + 2, v.end());
  return v[2];
}

struct Parts {
  double dropout = 0, stuck = 1, spikes = 1, drift = 1, noise = 1;
};

Parts judge(const std::vector<double>& all) {
  Parts out;
  std::vector<double> x;
  for (double v : all) {
    if (std::isfinite(v)) x.push_back(v);
  }
  out.dropout =
      static_cast<double>(x.size()) / static_cast<double>(std::max<size_t>(all.size(), 1));
  int64_t n = static_cast<int64_t>(x.size());
  if (n < 4) {
    out.stuck = n < 2 ? 0 : 1;
    return out;
  }
  double mean = 0;
  for (double v : x) mean += v / static_cast<double>(n);
  double variance = 0;
  for (double v : x) variance += (v - mean) * (v - mean) / static_cast<double>(n);
  if (variance <= 1e-24 * (1 + mean * mean)) {
    out.stuck = 0;
    return out;
  }

  // Runs of one value. Signals of few levels (switches, coarse sensors) repeat by nature: a run
  // counts from four times their usual length.
  std::vector<int64_t> runs;
  for (int64_t i = 0; i < n;) {
    int64_t j = i + 1;
    while (j < n && x[j] == x[i]) ++j;
    runs.push_back(j - i);
    i = j;
  }
  std::vector<int64_t> sorted = runs;
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<int64_t>(sorted.size() / 2),
                   sorted.end());
  int64_t usual = sorted[sorted.size() / 2], frozen = 0;
  for (int64_t r : runs) {
    if (r >= std::max<int64_t>(4, 4 * usual)) frozen += r;
  }
  out.stuck = 1 - static_cast<double>(frozen) / static_cast<double>(n);

  // Spikes: distance from the median of five neighbours against its usual size.
  std::vector<double> smooth(x), distance(n, 0.0);
  for (int64_t i = 2; i + 2 < n; ++i) {
    smooth[i] = middle_of({x[i - 2], x[i - 1], x[i], x[i + 1], x[i + 2]});
    distance[i] = std::fabs(x[i] - smooth[i]);
  }
  std::vector<double> centred;
  for (double v : smooth) centred.push_back(std::fabs(v - median(smooth)));
  double spread = 1.4826 * median(centred);
  if (spread <= 0) spread = std::sqrt(variance);
  double usual_distance = 1.4826 * median(distance);
  double limit = std::max(6 * usual_distance, 1.5 * spread);
  int64_t spikes = 0;
  for (double d : distance) spikes += d > limit;
  out.spikes = std::exp(-12.0 * static_cast<double>(spikes) / static_cast<double>(n));

  // Drift: a straight line through the smoothed values against what is left around it.
  double t_mean = 0.5 * static_cast<double>(n - 1), top = 0, bottom = 0, s_mean = 0;
  for (double v : smooth) s_mean += v / static_cast<double>(n);
  for (int64_t i = 0; i < n; ++i) {
    top += (static_cast<double>(i) - t_mean) * (smooth[i] - s_mean);
    bottom += (static_cast<double>(i) - t_mean) * (static_cast<double>(i) - t_mean);
  }
  double slope = top / bottom, rest = 0;
  for (int64_t i = 0; i < n; ++i) {
    double r = smooth[i] - s_mean - slope * (static_cast<double>(i) - t_mean);
    rest += r * r / static_cast<double>(n);
  }
  double trend = std::fabs(slope) * static_cast<double>(n) / (std::sqrt(rest) + 1e-12);
  out.drift = 1 / (1 + std::pow(trend / 4, 2));

  // Noise: von Neumann's ratio of the detrended values, 0 for a smooth curve, 2 for white noise;
  // steps by their median, so that spikes do not count twice.
  std::vector<double> steps;
  for (int64_t i = 0; i + 1 < n; ++i) steps.push_back(std::fabs(x[i + 1] - x[i]));
  double step = 1.4826 * median(steps);
  double ratio = std::min(step * step / (rest + 1e-24), 2.0);
  out.noise = 1 / (1 + 2.5 * ratio);
  return out;
}

}  // namespace

Quality series_quality(const at::Tensor& values) {
  if (!values.defined() || values.dim() < 1 || values.dim() > 2) {
    fail(ErrorCode::kInvalidArgument, "series quality",
         "expected [T, C] or [T], got " +
             (values.defined() ? describe(values) : std::string("nothing")));
  }
  at::Tensor x = values.detach().to(at::kCPU, at::kDouble).contiguous();
  int64_t t = x.size(0), channels = x.dim() == 2 ? x.size(1) : 1;
  Quality out;
  out.parts = {{"dropout", 0}, {"stuck", 0}, {"spikes", 0}, {"drift", 0}, {"noise", 0}};
  if (t == 0 || channels == 0) return out;
  const double* p = x.data_ptr<double>();
  for (int64_t c = 0; c < channels; ++c) {
    std::vector<double> column(t);
    for (int64_t i = 0; i < t; ++i) column[i] = p[i * channels + c];
    Parts q = judge(column);
    double part = 1.0 / static_cast<double>(channels);
    out.parts["dropout"] += part * q.dropout;
    out.parts["stuck"] += part * q.stuck;
    out.parts["spikes"] += part * q.spikes;
    out.parts["drift"] += part * q.drift;
    out.parts["noise"] += part * q.noise;
    out.score += part * q.dropout * q.stuck * q.spikes * std::sqrt(q.drift) * std::sqrt(q.noise);
  }
  out.score = std::clamp(out.score, 0.0, 1.0);
  return out;
}

}  // namespace plait::models
