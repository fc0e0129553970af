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
  double snr_db = 0;     ///< Mean power against the floor that every frequency keeps.
  double bandwidth = 0;  ///< Hz
  double active = 0;     ///< Share of frames within 35 dB of the loudest.
};

/// `keep` marks samples outside dropouts: a moment of zeros says nothing about the noise floor.
Spectrum analyse(const std::vector<float>& x, const std::vector<bool>& keep, int64_t rate) {
  int64_t size = std::clamp<int64_t>(rate / 31, 64, 2048), hop = size / 2,
          n = static_cast<int64_t>(x.size());
  Spectrum out;
  if (n < 2 * size) return out;
  at::Tensor wave = at::from_blob(const_cast<float*>(x.data()), {n}, at::kFloat);
  at::Tensor frames = wave.unfold(0, size, hop);
  std::vector<int64_t> whole;
  for (int64_t f = 0; f < frames.size(0); ++f) {
    int64_t good = 0;
    for (int64_t i = f * hop; i < f * hop + size; ++i) good += keep[i];
    if (good == size) whole.push_back(f);
  }
  if (whole.size() < 3) return out;
  frames = frames.index_select(0, at::tensor(whole, at::kLong));
  at::Tensor power = at::fft_rfft(frames * at::hann_window(size)).abs().square();  // [F, K]
  // Three frames together: single ones of pure noise scatter too far.
  at::Tensor mean3 = power.unfold(0, 3, 1).mean(-1);
  at::Tensor mean = power.mean(0), floor = at::quantile(mean3, 0.04, 0) / 0.3;
  // Broad noise shows first where speech is weak, so every frequency counts alike in one half of
  // the estimate.
  double level = mean.sum().item<double>(), under = floor.sum().item<double>();
  double total = 10 * std::log10(std::max(level / (under + 1e-9 * level + 1e-20) - 1, 1e-3));
  at::Tensor each =
      10 * at::log10((mean + 1e-12 * level + 1e-20) / (floor + 1e-12 * level + 1e-20));
  out.snr_db = 0.5 * total + 0.5 * each.clamp(0, 50).mean().item<double>();

  at::Tensor frame_db = 10 * at::log10(power.sum(1) + 1e-12);
  double loud = at::quantile(frame_db, 0.95).item<double>();
  out.active = frame_db.gt(loud - 35).to(at::kFloat).mean().item<double>();
  at::Tensor used = mean.gt(mean.max() * 1e-5).nonzero();
  if (used.numel() > 0) {
    out.bandwidth =
        used.max().item<double>() * static_cast<double>(rate) / static_cast<double>(size);
  }
  return out;
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
  out.parts = {{"noise", 0}, {"clipping", 0}, {"dropout", 0},
               {"level", 0}, {"silence", 0},  {"bandwidth", 0}};
  at::Tensor wave = samples.detach().to(at::kCPU, at::kFloat);
  if (wave.dim() == 2) wave = wave.mean(0);
  wave = wave.narrow(0, 0, std::min(wave.size(0), kMaxSeconds * sample_rate)).contiguous();
  if (wave.numel() == 0) return out;
  std::vector<float> x(wave.data_ptr<float>(), wave.data_ptr<float>() + wave.numel());
  double power = 0, peak = 0;
  for (float& v : x) {
    if (!std::isfinite(v)) v = 0;
    power += static_cast<double>(v) * v;
    peak = std::max(peak, std::fabs(static_cast<double>(v)));
  }
  double rms = std::sqrt(power / static_cast<double>(x.size()));
  if (peak <= 0) return out;

  std::vector<bool> keep(x.size(), true);
  double lost = find_dropouts(x, sample_rate, rms, &keep);
  Spectrum s = analyse(x, keep, sample_rate);
  double rms_db = 20 * std::log10(rms + 1e-9);
  out.parts["noise"] = std::clamp((s.snr_db + 8) / 43, 0.02, 1.0);
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
