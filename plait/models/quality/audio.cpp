#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "plait/core/error.h"
#include "plait/models/quality/audio_loops.h"
#include "plait/models/quality/quality.h"

namespace plait::models {
namespace {

// Judging the first minutes of a recording is enough.
constexpr int64_t kMaxSeconds = 120;

struct Spectrum {
  double snr_db = 0;     ///< Mean power against the floor, over bands.
  double likeness = 0;   ///< Correlation of the floor's spectrum with the sound's, -1 to 1.
  double fall_db = 20;   ///< How far the fastest endings of sound fall in 48 ms.
  double bandwidth = 0;  ///< Hz up to which sound rises over the floor.
  double active = 0;     ///< Share of frames within 35 dB of the loudest.
};

// Judging comes before every answer: what follows avoids operators on little tensors.

/// Of at::quantile's two values, after `f`.
template <class F>
double between(const Between& found, F f) {
  return std::lerp(static_cast<double>(f(found.below)), static_cast<double>(f(found.above)),
                   found.part);
}

/// Powers of some frames: bands [B, F].
struct Powers {
  int64_t count = 0;
  std::vector<float> bands, all;

  int64_t width() const { return static_cast<int64_t>(bands.size()) / count; }
  const float* band(int64_t b) const { return bands.data() + b * count; }
};

double correlation(const std::vector<double>& a, const std::vector<double>& b) {
  const auto n = static_cast<double>(a.size());
  double a_mean = 0, b_mean = 0, aa = 0, bb = 0, ab = 0;
  for (size_t i = 0; i < a.size(); ++i) a_mean += a[i] / n, b_mean += b[i] / n;
  for (size_t i = 0; i < a.size(); ++i) {
    const double x = a[i] - a_mean, y = b[i] - b_mean;
    aa += x * x, bb += y * y, ab += x * y;
  }
  const double spread = std::sqrt(aa * bb);
  return spread > 1e-9 ? ab / spread : 0;
}

/// Noise shows as a floor that no moment goes below: in weak bands first if it is broad, in strong
/// ones if it is made of voices.
void judge_floor(const Powers& powers, const std::vector<double>& top, Spectrum* out) {
  // Five frames together: single ones of pure noise scatter too far.
  constexpr int64_t kTogether = 5;
  const int64_t width = powers.width(), count = powers.count - kTogether + 1;
  std::vector<float> smooth(static_cast<size_t>(count));
  std::vector<double> mean(static_cast<size_t>(width)), floor(mean);
  double middle = 0;
  for (int64_t b = 0; b < width; ++b) {
    const float* p = powers.band(b);
    double sum = 0;
    for (int64_t f = 0; f < count; ++f, ++p) {
      smooth[static_cast<size_t>(f)] = (p[0] + p[1] + p[2] + p[3] + p[4]) / kTogether;
      sum += smooth[static_cast<size_t>(f)];
    }
    mean[static_cast<size_t>(b)] = sum / static_cast<double>(count);
    middle += sum / static_cast<double>(count * width);
    floor[static_cast<size_t>(b)] =
        between(quantile_of(smooth.data(), count, 0.05F), [](float power) { return power; });
  }
  const double least = 1e-9 * middle + 1e-12;
  double snr = 0, weighted = 0, weights = 0, most = 0;
  std::vector<double> sound, rest;
  for (size_t b = 0; b < mean.size(); ++b) {
    mean[b] += least, floor[b] += least;
    sound.push_back(std::log(mean[b]));
    rest.push_back(std::log(floor[b]));
    const double db = 10 / M_LN10 * (sound[b] - rest[b]), weight = std::exp(0.6 * sound[b]);
    snr += db / static_cast<double>(width);
    weighted += db * weight;
    weights += weight;
    most = std::max(most, mean[b]);
  }
  out->snr_db = 0.4 * snr + 0.6 * weighted / weights;
  out->likeness = correlation(sound, rest);
  // Sound comes and goes, noise stays: what a band holds all the time is not counted as used.
  for (size_t b = 0; b < mean.size(); ++b) {
    if (mean[b] > most * 1e-5 && mean[b] > 4 * floor[b]) out->bandwidth = top[b];
  }
}

/// A room goes on sounding when the voice stops: the steepest falls become flat. `frames` are the
/// numbers of the columns of `powers`; only falls between columns that are `lag` apart count.
void judge_endings(const Powers& powers, const std::vector<int64_t>& frames, size_t lag,
                   Spectrum* out) {
  std::vector<size_t> starts;
  for (size_t i = 0; i + lag < frames.size(); ++i) {
    if (frames[i + lag] - frames[i] == static_cast<int64_t>(lag)) starts.push_back(i);
  }
  if (starts.size() < 12) return;
  std::vector<float> level(frames.size()), fall(starts.size());
  double sum = 0;
  for (int64_t b = 0; b < powers.width(); ++b) {
    const float* p = powers.band(b);
    const float least = 1e-6F * *std::max_element(p, p + powers.count);
    for (size_t f = 0; f < level.size(); ++f) level[f] = p[f] + least + 1e-12F;
    // Ratios have the order of their logarithms.
    for (size_t i = 0; i < starts.size(); ++i) fall[i] = level[starts[i]] / level[starts[i] + lag];
    sum += between(quantile_of(fall.data(), static_cast<int64_t>(fall.size()), 0.97F),
                   [](double ratio) { return 10 * std::log10(ratio); });
  }
  out->fall_db = sum / static_cast<double>(powers.width());
}

/// Moments from the first sample to the one after the last.
using Moments = std::vector<std::pair<int64_t, int64_t>>;

/// Frames without a part in `lost`: a moment of zeros says nothing about the noise floor.
std::vector<int64_t> whole_frames(int64_t n, int64_t size, int64_t hop, const Moments& lost) {
  std::vector<int64_t> out;
  auto next = lost.begin();
  for (int64_t f = 0; f * hop + size <= n; ++f) {
    while (next != lost.end() && next->second <= f * hop) ++next;
    if (next == lost.end() || next->first >= f * hop + size) out.push_back(f);
  }
  return out;
}

Spectrum analyse(const float* x, int64_t n, const Moments& lost, int64_t rate) {
  const auto spectra = BandSpectra::of(rate);
  Spectrum out;
  if (n < 2 * spectra->size()) return out;
  const std::vector<int64_t> whole = whole_frames(n, spectra->size(), spectra->hop(), lost);
  if (whole.size() < 3) return out;
  Powers powers;
  powers.count = static_cast<int64_t>(whole.size());
  powers.bands.resize(whole.size() * spectra->tops().size());
  powers.all.resize(whole.size());
  spectra->powers(x, n, whole, powers.bands.data(), powers.all.data());
  if (whole.size() >= 8 && spectra->tops().size() >= 4) {
    judge_floor(powers, spectra->tops(), &out);
    const auto lag = std::max<int64_t>(1, std::llround(0.048 * rate / spectra->hop()));
    judge_endings(powers, whole, static_cast<size_t>(lag), &out);
  }
  const double loud = between(quantile_of(powers.all.data(), powers.count, 0.95F),
                              [](double power) { return 10 * std::log10(power + 1e-12); });
  const auto limit = static_cast<float>(std::pow(10, (loud - 35) / 10) - 1e-12);
  int64_t active = 0;
  for (float power : powers.all) active += power > limit;
  out.active = static_cast<double>(active) / static_cast<double>(powers.count);
  return out;
}

/// How far the amplitudes of the sound (its differences, so that hum counts little) are from those
/// of Gaussian noise, which gives 0.41: log E|x| - E log|x| (Kim and Stern 2008, WADA-SNR).
double amplitude_spread(const float* x, int64_t n, const Moments& lost) {
  Differences all;
  int64_t begin = 0;
  auto add = [&](int64_t end) {
    const Differences found = differences_of(x + begin, end - begin);
    all.sum += found.sum;
    all.logs += found.logs;
    all.count += found.count;
  };
  for (const auto& [from, to] : lost) {
    add(from);
    begin = to;
  }
  add(n);
  const auto count = static_cast<double>(all.count);
  return all.count ? std::log(all.sum / count + 1e-12) - all.logs / count : 0;
}

/// Runs of zeros (8 ms and more) that sound breaks into or out of.
Moments find_dropouts(const float* x, int64_t n, int64_t rate, double rms) {
  const int64_t least = std::max<int64_t>(rate / 125, 4), near = std::max<int64_t>(rate / 2000, 2);
  auto loud_near = [&](int64_t from, int64_t to) {
    double peak = 0;
    for (int64_t i = std::max<int64_t>(from, 0); i < std::min(to, n); ++i)
      peak = std::max(peak, std::fabs(double(x[i])));
    return peak > 0.05 * rms;
  };
  Moments out;
  for (int64_t i = find_zero(x, 0, n); i < n;) {
    int64_t j = i;
    while (j < n && x[j] == 0) ++j;
    if (j - i >= least && (loud_near(i - near, i) || loud_near(j, j + near)))
      out.emplace_back(i, j);
    i = find_zero(x, j, n);
  }
  return out;
}

double clipped_share(const float* x, int64_t n, double peak) {
  // The same comparisons in single precision.
  const double high = 0.98 * peak, step = 1e-4 * peak;
  auto high_single = static_cast<float>(high), step_single = static_cast<float>(step);
  if (high_single < high) high_single = std::nextafter(high_single, HUGE_VALF);
  if (step_single > step) step_single = std::nextafter(step_single, -HUGE_VALF);
  return static_cast<double>(count_flat(x, n, high_single, step_single)) / static_cast<double>(n);
}

}  // namespace

Quality audio_quality(const at::Tensor& samples, int64_t sample_rate) {
  if (!samples.defined() || samples.dim() < 1 || samples.dim() > 2 || sample_rate <= 0) {
    fail(ErrorCode::kInvalidArgument, "audio quality",
         "expected samples [N] or [C, N] and a positive rate");
  }
  Quality out;
  out.parts = {{"noise", 0}, {"reverberation", 0}, {"clipping", 0}, {"dropout", 0},
               {"level", 0}, {"silence", 0},       {"bandwidth", 0}};
  at::Tensor wave = samples.detach().to(at::kCPU, at::kFloat);
  if (wave.dim() == 2) wave = wave.mean(0);
  wave = wave.narrow(0, 0, std::min(wave.size(0), kMaxSeconds * sample_rate)).contiguous();
  if (wave.numel() == 0) return out;
  const int64_t n = wave.numel();
  const float* x = wave.const_data_ptr<float>();
  std::vector<float> usable;
  Level level = level_of(x, n);
  double unusable = 0;
  if (!level.finite || level.peak > 1) {
    usable.assign(x, x + n);
    x = usable.data();
    for (float& v : usable) {
      if (std::isfinite(v)) continue;
      v = 0;
      ++unusable;
    }
    level = level_of(x, n);
  }
  double power = level.power, peak = level.peak;
  if (peak <= 0) return out;
  if (peak > 1) {
    // Beyond full scale only shape is left to judge, and squares of huge samples overflow.
    for (float& v : usable) v = static_cast<float>(v / peak);
    power /= peak * peak;
    peak = 1;
  }
  double rms = std::sqrt(power / static_cast<double>(n));

  const Moments dropouts = find_dropouts(x, n, sample_rate, rms);
  double lost = unusable;
  for (const auto& [from, to] : dropouts) lost += static_cast<double>(to - from);
  lost = std::min(1.0, lost / static_cast<double>(n));
  Spectrum s = analyse(x, n, dropouts, sample_rate);
  double rms_db = 20 * std::log10(rms + 1e-9);
  // Of single voices the floor is the room's; a floor that sounds like the voice is other voices.
  double clear = s.snr_db + 6 * std::min(amplitude_spread(x, n, dropouts), 2.0) -
                 40 * std::max(0.0, s.likeness - 0.8);
  out.measures["snr_db"] = s.snr_db;
  out.parts["noise"] = std::max(0.02, 1 / (1 + std::exp((17 - clear) / 5)));
  out.parts["reverberation"] = 0.2 + 0.8 / (1 + std::exp((12 - s.fall_db) / 1.5));
  out.parts["clipping"] =
      0.1 + 0.9 * std::exp(-18 * std::max(0.0, clipped_share(x, n, peak) - 2e-4));
  out.parts["dropout"] = std::pow(1 - lost, 1.5) * (lost > 0 ? 0.9 : 1.0);
  out.parts["level"] = std::clamp((rms_db + 80) / 50, 0.02, 1.0);
  out.parts["silence"] = std::clamp(s.active / 0.15, 0.05, 1.0);
  out.parts["bandwidth"] = 0.7 + 0.3 * std::min(1.0, s.bandwidth / 3500);
  out.score = 1;
  for (const auto& [name, part] : out.parts) out.score *= part;
  out.score = std::clamp(out.score, 0.0, 1.0);
  return out;
}

}  // namespace plait::models
