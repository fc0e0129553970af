#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "plait/core/error.h"
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

/// Bands of equal width in octaves from 120 Hz.
struct Bands {
  std::vector<int64_t> of_bin;  ///< -1: none
  std::vector<double> top;      ///< Hz
};

// Judging comes before every answer: what follows avoids operators on little tensors, and the
// sorting that at::quantile does, whose numbers it gives.
float quantile(std::vector<float>& values, float q) {
  const float rank = q * static_cast<float>(values.size() - 1), below = std::floor(rank);
  auto at = values.begin() + static_cast<int64_t>(below);
  std::nth_element(values.begin(), at, values.end());
  if (at + 1 == values.end()) return *at;
  return std::lerp(*at, *std::min_element(at + 1, values.end()), rank - below);
}

/// Of every column of x [N, B]: [B].
at::Tensor column_quantiles(const at::Tensor& x, float q) {
  const at::Tensor rows = x.contiguous();
  const int64_t n = rows.size(0), columns = rows.size(1);
  at::Tensor out = at::empty({columns});
  std::vector<float> column(static_cast<size_t>(n));
  for (int64_t b = 0; b < columns; ++b) {
    for (int64_t i = 0; i < n; ++i)
      column[static_cast<size_t>(i)] = rows.const_data_ptr<float>()[i * columns + b];
    out.mutable_data_ptr<float>()[b] = quantile(column, q);
  }
  return out;
}

Bands make_bands(int64_t bins, int64_t size, int64_t rate) {
  constexpr int64_t kBands = 16;
  double low = 120, high = std::min(7600.0, 0.475 * static_cast<double>(rate));
  Bands out;
  out.of_bin.assign(static_cast<size_t>(bins), -1);
  std::array<int64_t, kBands> held{};
  for (int64_t k = 1; k < bins; ++k) {
    double hz = static_cast<double>(k * rate) / static_cast<double>(size);
    if (hz < low || hz >= high) continue;
    auto band = static_cast<int64_t>(kBands * std::log(hz / low) / std::log(high / low));
    band = std::min(band, kBands - 1);
    out.of_bin[static_cast<size_t>(k)] = band;
    ++held[static_cast<size_t>(band)];
  }
  // Low bands of few bins may hold none.
  std::array<int64_t, kBands> number{};
  for (int64_t b = 0; b < kBands; ++b) {
    if (held[static_cast<size_t>(b)] == 0) continue;
    number[static_cast<size_t>(b)] = static_cast<int64_t>(out.top.size());
    out.top.push_back(low * std::pow(high / low, static_cast<double>(b + 1) / kBands));
  }
  for (int64_t& band : out.of_bin) {
    if (band >= 0) band = number[static_cast<size_t>(band)];
  }
  return out;
}

/// Noise shows as a floor that no moment goes below: in weak bands first if it is broad, in strong
/// ones if it is made of voices.
void judge_floor(const at::Tensor& bands, const std::vector<double>& top, Spectrum* out) {
  // Five frames together: single ones of pure noise scatter too far.
  at::Tensor smooth = bands.unfold(0, 5, 1).mean(-1);
  double least = 1e-9 * smooth.mean().item<double>() + 1e-12;
  at::Tensor mean = smooth.mean(0) + least, floor = column_quantiles(smooth, 0.05F) + least;
  at::Tensor snr = 10 * at::log10(mean / floor), weight = mean.pow(0.6);
  out->snr_db =
      0.4 * snr.mean().item<double>() + 0.6 * ((snr * weight).sum() / weight.sum()).item<double>();
  at::Tensor a = mean.log() - mean.log().mean(), b = floor.log() - floor.log().mean();
  double spread = std::sqrt(a.square().sum().item<double>() * b.square().sum().item<double>());
  out->likeness = spread > 1e-9 ? (a * b).sum().item<double>() / spread : 0;
  // Sound comes and goes, noise stays: what a band holds all the time is not counted as used.
  at::Tensor used = mean.gt(mean.max() * 1e-5).logical_and(mean.gt(4 * floor)).nonzero();
  if (used.numel() > 0) out->bandwidth = top[used.max().item<int64_t>()];
}

/// A room goes on sounding when the voice stops: the steepest falls become flat. `frames` are the
/// numbers of the rows of `bands`; only falls between rows that are `lag` apart count.
void judge_endings(const at::Tensor& bands, const std::vector<int64_t>& frames, int64_t lag,
                   Spectrum* out) {
  std::vector<int64_t> starts;
  for (size_t i = 0; i + static_cast<size_t>(lag) < frames.size(); ++i) {
    if (frames[i + static_cast<size_t>(lag)] - frames[i] == lag)
      starts.push_back(static_cast<int64_t>(i));
  }
  if (starts.size() < 12) return;
  at::Tensor level = 10 * at::log10(bands + 1e-6 * std::get<0>(bands.max(0)) + 1e-12);
  at::Tensor start = at::tensor(starts, at::kLong);
  at::Tensor fall = level.index_select(0, start) - level.index_select(0, start + lag);
  out->fall_db = column_quantiles(fall, 0.97F).mean().item<double>();
}

/// Of the frames numbered `whole`: power in each band [F, B], and in all [F].
struct Powers {
  at::Tensor bands;
  std::vector<float> all;
};

Powers powers_of(const std::vector<float>& x, const std::vector<int64_t>& whole, int64_t size,
                 int64_t hop, const Bands& bands) {
  const auto count = static_cast<int64_t>(whole.size()),
             width = static_cast<int64_t>(bands.top.size());
  const at::Tensor window = at::hann_window(size);
  at::Tensor frames = at::empty({count, size});
  for (int64_t f = 0; f < count; ++f) {
    const float *from = x.data() + whole[static_cast<size_t>(f)] * hop,
                *weight = window.const_data_ptr<float>();
    float* to = frames.mutable_data_ptr<float>() + f * size;
    for (int64_t i = 0; i < size; ++i) to[i] = from[i] * weight[i];
  }
  const at::Tensor spectrum = at::view_as_real(at::fft_rfft(frames)).contiguous();  // [F, K, 2]
  Powers out{at::zeros({count, width}), std::vector<float>(whole.size())};
  for (int64_t f = 0; f < count; ++f) {
    const float* bin = spectrum.const_data_ptr<float>() + f * spectrum.size(1) * 2;
    float *band = out.bands.mutable_data_ptr<float>() + f * width, all = 0;
    for (const int64_t own : bands.of_bin) {
      const float power = bin[0] * bin[0] + bin[1] * bin[1];
      bin += 2;
      all += power;
      if (own >= 0) band[own] += power;
    }
    out.all[static_cast<size_t>(f)] = all;
  }
  return out;
}

/// Samples outside dropouts: a moment of zeros says nothing about the noise floor.
using Kept = std::vector<char>;

Spectrum analyse(const std::vector<float>& x, const Kept& keep, int64_t rate) {
  int64_t size = std::clamp<int64_t>(rate / 31, 64, 2048), hop = size / 4,
          n = static_cast<int64_t>(x.size());
  Spectrum out;
  if (n < 2 * size) return out;
  std::vector<int64_t> whole;
  const int64_t count = (n - size) / hop + 1;
  int64_t good = 0;
  for (int64_t i = 0, f = 0; i < n && f < count; ++i) {
    good = keep[static_cast<size_t>(i)] ? good + 1 : 0;
    if (i + 1 == f * hop + size) {
      if (good >= size) whole.push_back(f);
      ++f;
    }
  }
  if (whole.size() < 3) return out;
  Bands bands = make_bands(size / 2 + 1, size, rate);
  Powers power = powers_of(x, whole, size, hop, bands);
  if (whole.size() >= 8 && bands.top.size() >= 4) {
    judge_floor(power.bands, bands.top, &out);
    judge_endings(power.bands, whole, std::max<int64_t>(1, std::llround(0.048 * rate / hop)), &out);
  }

  std::vector<float>& db = power.all;
  for (float& level : db) level = 10 * std::log10(level + 1e-12F);
  const std::vector<float> levels = db;
  const double loud = quantile(db, 0.95F);
  int64_t active = 0;
  for (float level : levels) active += level > static_cast<float>(loud - 35);
  out.active = static_cast<double>(active) / static_cast<double>(levels.size());
  return out;
}

/// How far the amplitudes of the sound (its differences, so that hum counts little) are from those
/// of Gaussian noise, which gives 0.41: log E|x| - E log|x| (Kim and Stern 2008, WADA-SNR).
double amplitude_spread(const std::vector<float>& x, const Kept& keep) {
  // One logarithm for many: their product neither over- nor underflows.
  constexpr int kTogether = 16;
  double sum = 0, logs = 0, product = 1;
  int64_t n = 0;
  for (size_t i = 1; i < x.size(); ++i) {
    if (!keep[i] || !keep[i - 1]) continue;
    double v = std::fabs(x[i] - 0.97 * x[i - 1]);
    sum += v;
    product *= v + 1e-6;
    if (++n % kTogether == 0) {
      logs += std::log(product);
      product = 1;
    }
  }
  logs += std::log(product);
  return n ? std::log(sum / static_cast<double>(n) + 1e-12) - logs / static_cast<double>(n) : 0;
}

/// Marks runs of zeros (8 ms and more) that sound breaks into or out of; returns their share of the
/// time.
double find_dropouts(const std::vector<float>& x, int64_t rate, double rms, Kept* keep) {
  int64_t n = static_cast<int64_t>(x.size()), least = std::max<int64_t>(rate / 125, 4), lost = 0;
  auto loud_near = [&](int64_t from, int64_t to) {
    double peak = 0;
    for (int64_t i = std::max<int64_t>(from, 0); i < std::min(to, n); ++i)
      peak = std::max(peak, std::fabs(double(x[i])));
    return peak > 0.05 * rms;
  };
  for (int64_t i = 0; i < n;) {
    if (x[i] != 0) {
      ++i;
      continue;
    }
    int64_t j = i;
    while (j < n && x[j] == 0) ++j;
    int64_t near = std::max<int64_t>(rate / 2000, 2);
    if (j - i >= least && (loud_near(i - near, i) || loud_near(j, j + near))) {
      lost += j - i;
      for (int64_t k = i; k < j; ++k) (*keep)[k] = 0;
    }
    i = j;
  }
  return static_cast<double>(lost) / static_cast<double>(n);
}

double clipped_share(const std::vector<float>& x, double peak) {
  int64_t flat = 0;
  for (size_t i = 1; i < x.size(); ++i) {
    flat += std::fabs(x[i]) >= 0.98 * peak && std::fabs(x[i] - x[i - 1]) <= 1e-4 * peak;
  }
  return static_cast<double>(flat) / static_cast<double>(x.size());
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
  std::vector<float> x(wave.data_ptr<float>(), wave.data_ptr<float>() + wave.numel());
  double power = 0, peak = 0, unusable = 0;
  for (float& v : x) {
    if (!std::isfinite(v)) {
      v = 0;
      ++unusable;
    }
    power += static_cast<double>(v) * v;
    peak = std::max(peak, std::fabs(static_cast<double>(v)));
  }
  if (peak <= 0) return out;
  if (peak > 1) {
    // Beyond full scale only shape is left to judge, and squares of huge samples overflow.
    for (float& v : x) v = static_cast<float>(v / peak);
    power /= peak * peak;
    peak = 1;
  }
  double rms = std::sqrt(power / static_cast<double>(x.size()));

  Kept keep(x.size(), 1);
  double lost = std::min(
      1.0, find_dropouts(x, sample_rate, rms, &keep) + unusable / static_cast<double>(x.size()));
  Spectrum s = analyse(x, keep, sample_rate);
  double rms_db = 20 * std::log10(rms + 1e-9);
  // Of single voices the floor is the room's; a floor that sounds like the voice is other voices.
  double clear = s.snr_db + 6 * std::min(amplitude_spread(x, keep), 2.0) -
                 40 * std::max(0.0, s.likeness - 0.8);
  out.measures["snr_db"] = s.snr_db;
  out.parts["noise"] = std::max(0.02, 1 / (1 + std::exp((17 - clear) / 5)));
  out.parts["reverberation"] = 0.2 + 0.8 / (1 + std::exp((12 - s.fall_db) / 1.5));
  out.parts["clipping"] = 0.1 + 0.9 * std::exp(-18 * std::max(0.0, clipped_share(x, peak) - 2e-4));
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
