#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "plait/core/error.h"
#include "plait/models/quality/quality.h"

namespace plait::models {
namespace {

using Values = std::vector<double>;

constexpr int64_t kFewest = 16;  // Values below which a shape cannot be told from chance.
constexpr int64_t kReach = 2;    // Neighbours on either side that a value is compared with.

// Missing, frozen and isolated values do not come by themselves, so they cost much from the first
// on. Noise and drift also look like the signal of another sensor: their parts stay near 1 up to
// about half of the amounts below and fall with the square beyond. Chosen on the development split
// of benchmarks/quality/sensors.py.
constexpr double kNoisy = 0.2;      // Noise as a part of the signal's spread.
constexpr double kDrifting = 0.75;  // Rise over the whole series, in spreads.
constexpr double kSpike = 3;        // Distance from the neighbours' median, in spreads ...
constexpr double kUnusual = 6;      // ... and in that distance's own usual size.
constexpr int64_t kFrozenRun = 5;   // Shortest run of one value that can be a stuck sensor ...
constexpr double kLongRuns = 0.95;  // ... if longer than this share of the series' runs ...
constexpr double kLonger = 3;       // ... by this factor.

constexpr double kNormalMedian = 0.6745;  // Median of |x| for x of the standard normal.

/// The values that are there, in [-1, 1], and where they were.
struct Channel {
  Values x, time;
  int64_t length = 0;  ///< Missing ones included.
};

struct Parts {
  double dropout = 0, stuck = 0, spikes = 0, drift = 0, noise = 0;

  double score() const { return dropout * stuck * spikes * drift * noise; }
};

double quantile(Values v, double share) {
  auto place = v.begin() + static_cast<int64_t>(share * static_cast<double>(v.size() - 1));
  std::nth_element(v.begin(), place, v.end());
  return *place;
}

double median(Values v) { return quantile(std::move(v), 0.5); }

double mean(const Values& v) {
  double sum = 0;
  for (double value : v) sum += value;
  return sum / static_cast<double>(v.size());
}

double deviation(const Values& v) {
  double middle = mean(v), sum = 0;
  for (double value : v) sum += (value - middle) * (value - middle);
  return std::sqrt(sum / static_cast<double>(v.size()));
}

/// 1 when nothing is lost, 0 when all is, steepest at the start.
double kept(double lost) {
  double part = 1 - std::sqrt(std::clamp(lost, 0.0, 1.0));
  return part * part;
}

/// 1 for nothing, 0.97 for half of the limit, 0.71 at it, (limit / amount)² far beyond.
double below(double amount, double limit) { return 1 / std::sqrt(1 + std::pow(amount / limit, 4)); }

double share(int64_t count, size_t of) {
  return static_cast<double>(count) / static_cast<double>(of);
}

Channel present(const double* values, int64_t length, int64_t stride) {
  Channel out;
  out.length = length;
  double largest = 0;
  for (int64_t i = 0; i < length; ++i) {
    double value = values[i * stride];
    if (!std::isfinite(value)) continue;
    largest = std::max(largest, std::fabs(value));
    out.x.push_back(value);
    out.time.push_back(static_cast<double>(i));
  }
  // Squares of enormous and of tiny values would leave the range of double.
  if (largest > 0) {
    for (double& value : out.x) value /= largest;
  }
  return out;
}

/// Signals of few levels (switches, coarse sensors) repeat by nature: a run counts when it is long
/// even for its series.
double frozen_share(const Values& x) {
  Values runs;
  for (size_t i = 0, j = 0; i < x.size(); i = j) {
    while (j < x.size() && x[j] == x[i]) ++j;
    runs.push_back(static_cast<double>(j - i));
  }
  double limit = std::max<double>(kFrozenRun, kLonger * quantile(runs, kLongRuns)), frozen = 0;
  for (double run : runs) frozen += run >= limit ? run : 0;
  return frozen / static_cast<double>(x.size());
}

/// The median of every value and its neighbours; the ends stay.
Values smoothed(const Values& x) {
  Values out(x);
  Values near(2 * kReach + 1);
  for (size_t i = kReach; i + kReach < x.size(); ++i) {
    std::copy_n(x.begin() + static_cast<int64_t>(i) - kReach, near.size(), near.begin());
    std::nth_element(near.begin(), near.begin() + kReach, near.end());
    out[i] = near[kReach];
  }
  return out;
}

struct Line {
  double rise = 0;    ///< From the first moment to the last.
  double spread = 0;  ///< Of the values around it.
};

Line fit_line(const Values& time, const Values& x) {
  double t_mean = mean(time), x_mean = mean(x), top = 0, bottom = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    top += (time[i] - t_mean) * (x[i] - x_mean);
    bottom += (time[i] - t_mean) * (time[i] - t_mean);
  }
  double slope = top / bottom;
  Values rest(x.size());
  for (size_t i = 0; i < x.size(); ++i) rest[i] = x[i] - x_mean - slope * (time[i] - t_mean);
  return {slope * (time.back() - time.front()), deviation(rest)};
}

/// Puts the neighbours' median in the place of every spike. @return the share of values with a
/// spike among their neighbours: what is lost to whoever smooths or differentiates.
double take_spikes(Values& x, const Values& smooth, double spread) {
  Values distance(x.size());
  for (size_t i = 0; i < x.size(); ++i) distance[i] = std::fabs(x[i] - smooth[i]);
  double limit = std::max(kUnusual * median(distance) / kNormalMedian, kSpike * spread);
  int64_t touched = 0, n = static_cast<int64_t>(x.size()), counted = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (distance[i] <= limit) continue;
    int64_t end = std::min(i + kReach + 1, n);
    touched += end - std::max(counted, i - kReach);
    counted = end;
    x[i] = smooth[i];
  }
  return share(touched, x.size());
}

/// Standard deviation of white noise with the fourth differences of `x`, which leave next to
/// nothing of a signal that is sampled well above its own frequencies; their median passes over
/// the moments that are not. 0 where too few values follow each other without a gap.
double noise_level(const Channel& c) {
  constexpr double kGain = 70;  // 1 + 16 + 36 + 16 + 1: the sum of the squared coefficients.
  const Values& x = c.x;
  Values differences;
  for (size_t i = 4; i < x.size(); ++i) {
    if (c.time[i] - c.time[i - 4] > 4) continue;
    differences.push_back(std::fabs(x[i] - 4 * x[i - 1] + 6 * x[i - 2] - 4 * x[i - 3] + x[i - 4]));
  }
  if (static_cast<int64_t>(differences.size()) < kFewest) return 0;
  return median(differences) / kNormalMedian / std::sqrt(kGain);
}

Parts judge(Channel c) {
  Parts out;
  if (c.x.empty()) return out;
  out.dropout = kept(1 - share(static_cast<int64_t>(c.x.size()), c.length));
  out.spikes = out.drift = out.noise = 1;
  constexpr double kRounding = 1e-12;
  double whole = deviation(c.x);
  if (whole <= kRounding) return out;
  out.stuck = kept(frozen_share(c.x));
  if (static_cast<int64_t>(c.x.size()) < kFewest) return out;
  Values smooth = smoothed(c.x);
  Line line = fit_line(c.time, smooth);
  // Nothing may be left around the line (a ramp) or after smoothing (lone pulses).
  double spread = line.spread > kRounding ? line.spread : whole;
  out.drift = below(std::fabs(line.rise) / spread, kDrifting);
  out.spikes = kept(take_spikes(c.x, smooth, spread));
  out.noise = below(noise_level(c) / spread, kNoisy);
  return out;
}

/// Halfway between the mean and the worst channel, so that one dead channel of many shows.
double combine(const std::vector<Parts>& channels, double (*value)(const Parts&)) {
  double sum = 0, worst = 1;
  for (const Parts& parts : channels) {
    sum += value(parts);
    worst = std::min(worst, value(parts));
  }
  return std::clamp((sum / static_cast<double>(channels.size()) + worst) / 2, 0.0, 1.0);
}

}  // namespace

Quality series_quality(const at::Tensor& values) {
  if (!values.defined() || values.dim() < 1 || values.dim() > 2) {
    fail(ErrorCode::kInvalidArgument, "series quality",
         "expected [T, C] or [T], got " +
             (values.defined() ? describe(values) : std::string("nothing")));
  }
  at::Tensor x = values.detach().to(at::kCPU, at::kDouble).contiguous();
  int64_t length = x.size(0), count = x.dim() == 2 ? x.size(1) : 1;
  std::vector<Parts> channels;
  if (length > 0) {
    for (int64_t c = 0; c < count; ++c) {
      channels.push_back(judge(present(x.data_ptr<double>() + c, length, count)));
    }
  }
  if (channels.empty()) channels.emplace_back();
  Quality out;
  out.parts = {{"dropout", combine(channels, [](const Parts& p) { return p.dropout; })},
               {"stuck", combine(channels, [](const Parts& p) { return p.stuck; })},
               {"spikes", combine(channels, [](const Parts& p) { return p.spikes; })},
               {"drift", combine(channels, [](const Parts& p) { return p.drift; })},
               {"noise", combine(channels, [](const Parts& p) { return p.noise; })}};
  out.score = combine(channels, [](const Parts& p) { return p.score(); });
  return out;
}

}  // namespace plait::models
