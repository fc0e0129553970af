#include <ATen/ATen.h>

#include <algorithm>
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
  at::Tensor matrix;        ///< [bins, bands] of zeros and ones.
  std::vector<double> top;  ///< Hz
};

Bands make_bands(int64_t bins, int64_t size, int64_t rate) {
  constexpr int64_t kBands = 16;
  double low = 120, high = std::min(7600.0, 0.475 * static_cast<double>(rate));
  at::Tensor matrix = at::zeros({bins, kBands});
  auto entry = matrix.accessor<float, 2>();
  for (int64_t k = 1; k < bins; ++k) {
    double hz = static_cast<double>(k * rate) / static_cast<double>(size);
    if (hz < low || hz >= high) continue;
    auto band = static_cast<int64_t>(kBands * std::log(hz / low) / std::log(high / low));
    entry[k][std::min(band, kBands - 1)] = 1;
  }
  Bands out;
  std::vector<int64_t> used;
  for (int64_t b = 0; b < kBands; ++b) {
    if (matrix.select(1, b).sum().item<float>() == 0) continue;
    used.push_back(b);
    out.top.push_back(low * std::pow(high / low, static_cast<double>(b + 1) / kBands));
  }
  out.matrix = matrix.index_select(1, at::tensor(used, at::kLong));
  return out;
}

/// Noise shows as a floor that no moment goes below: in weak bands first if it is broad, in strong
/// ones if it is made of voices.
void judge_floor(const at::Tensor& bands, const std::vector<double>& top, Spectrum* out) {
  // Five frames together: single ones of pure noise scatter too far.
  at::Tensor smooth = bands.unfold(0, 5, 1).mean(-1);
  double least = 1e-9 * smooth.mean().item<double>() + 1e-12;
  at::Tensor mean = smooth.mean(0) + least, floor = at::quantile(smooth, 0.05, 0) + least;
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
  out->fall_db = at::quantile(fall, 0.97, 0).mean().item<double>();
}

/// `keep` marks samples outside dropouts: a moment of zeros says nothing about the noise floor.
Spectrum analyse(const std::vector<float>& x, const std::vector<bool>& keep, int64_t rate) {
  int64_t size = std::clamp<int64_t>(rate / 31, 64, 2048), hop = size / 4,
          n = static_cast<int64_t>(x.size());
  Spectrum out;
  if (n < 2 * size) return out;
  at::Tensor wave = at::from_blob(const_cast<float*>(x.data()), {n}, at::kFloat);
  at::Tensor frames = wave.unfold(0, size, hop);
  std::vector<int64_t> whole;
  int64_t good = 0;
  for (int64_t i = 0, f = 0; i < n && f < frames.size(0); ++i) {
    good = keep[i] ? good + 1 : 0;
    if (i + 1 == f * hop + size) {
      if (good >= size) whole.push_back(f);
      ++f;
    }
  }
  if (whole.size() < 3) return out;
  frames = frames.index_select(0, at::tensor(whole, at::kLong));
  at::Tensor power = at::fft_rfft(frames * at::hann_window(size)).abs().square();  // [F, K]
  Bands bands = make_bands(power.size(1), size, rate);
  if (power.size(0) >= 8 && bands.top.size() >= 4) {
    at::Tensor energy = at::matmul(power, bands.matrix);  // [F, B]
    judge_floor(energy, bands.top, &out);
    judge_endings(energy, whole, std::max<int64_t>(1, std::llround(0.048 * rate / hop)), &out);
  }

  at::Tensor frame_db = 10 * at::log10(power.sum(1) + 1e-12);
  double loud = at::quantile(frame_db, 0.95).item<double>();
  out.active = frame_db.gt(loud - 35).to(at::kFloat).mean().item<double>();
  return out;
}

/// How far the amplitudes of the sound (its differences, so that hum counts little) are from those
/// of Gaussian noise, which gives 0.41: log E|x| - E log|x| (Kim and Stern 2008, WADA-SNR).
double amplitude_spread(const std::vector<float>& x, const std::vector<bool>& keep) {
  double sum = 0, logs = 0;
  int64_t n = 0;
  for (size_t i = 1; i < x.size(); ++i) {
    if (!keep[i] || !keep[i - 1]) continue;
    double v = std::fabs(x[i] - 0.97 * x[i - 1]);
    sum += v;
    logs += std::log(v + 1e-6);
    ++n;
  }
  return n ? std::log(sum / static_cast<double>(n) + 1e-12) - logs / static_cast<double>(n) : 0;
}

/// Marks runs of zeros (8 ms and more) that sound breaks into or out of; returns their share of the
/// time.
double find_dropouts(const std::vector<float>& x, int64_t rate, double rms,
                     std::vector<bool>* keep) {
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
      for (int64_t k = i; k < j; ++k) (*keep)[k] = false;
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

  std::vector<bool> keep(x.size(), true);
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
