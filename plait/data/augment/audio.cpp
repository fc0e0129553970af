#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "plait/data/augment/kinds.h"

namespace plait::data {
namespace {

/// Paul Kellet's filter: white to pink within half a decibel.
std::vector<float> pink_noise(int64_t n, DamageRandom& random) {
  std::vector<float> out(n);
  double b0 = 0, b1 = 0, b2 = 0;
  for (int64_t i = 0; i < n; ++i) {
    double white = random.normal();
    b0 = 0.99765 * b0 + white * 0.0990460;
    b1 = 0.96300 * b1 + white * 0.2965164;
    b2 = 0.57000 * b2 + white * 1.0526913;
    out[i] = static_cast<float>(b0 + b1 + b2 + white * 0.1848);
  }
  return out;
}

/// Many voices at once: the recording itself, delayed by six seeded lengths and turned backwards in
/// every other one.
std::vector<float> babble(const float* x, int64_t n, DamageRandom& random) {
  std::vector<float> out(n, 0.f);
  for (int voice = 0; voice < 6; ++voice) {
    int64_t shift = random.below(n);
    for (int64_t i = 0; i < n; ++i) {
      int64_t j = (i + shift) % n;
      out[i] += x[voice % 2 ? n - 1 - j : j];
    }
  }
  return out;
}

double power(const std::vector<float>& x) {
  double sum = 0;
  for (float v : x) sum += static_cast<double>(v) * v;
  return sum / static_cast<double>(std::max<size_t>(x.size(), 1));
}

void add_at_snr(float* x, int64_t n, const std::vector<float>& noise, double snr_db) {
  double signal = power(std::vector<float>(x, x + n)), level = power(noise);
  if (level <= 0) return;
  double gain = std::sqrt(std::max(signal, 1e-10) / level * std::pow(10.0, -snr_db / 10));
  for (int64_t i = 0; i < n; ++i) x[i] = static_cast<float>(x[i] + gain * noise[i]);
}

void clip(float* x, int64_t n, double share) {
  std::vector<float> magnitude(n);
  for (int64_t i = 0; i < n; ++i) magnitude[i] = std::fabs(x[i]);
  int64_t k =
      std::clamp<int64_t>(static_cast<int64_t>((1 - share) * static_cast<double>(n)), 0, n - 1);
  std::nth_element(magnitude.begin(), magnitude.begin() + k, magnitude.end());
  float limit = std::max(magnitude[k], 1e-6f);
  for (int64_t i = 0; i < n; ++i) x[i] = std::clamp(x[i], -limit, limit);
}

/// A room of exponentially decaying reflections; `seconds` is the time to −60 dB.
void reverb(float* x, int64_t n, int64_t rate, double seconds, double wet, DamageRandom& random) {
  std::vector<float> dry(x, x + n);
  for (int tap = 0; tap < 160; ++tap) {
    double t = seconds * (tap + random.uniform()) / 160;
    int64_t delay = std::llround((t + 0.004) * static_cast<double>(rate));
    double gain = wet * random.normal() * std::pow(10.0, -3 * t / seconds) * 0.35;
    for (int64_t i = delay; i < n; ++i) x[i] += static_cast<float>(gain * dry[i - delay]);
  }
}

void dropouts(float* x, int64_t n, int64_t rate, double share, DamageRandom& random) {
  // Pieces of 20 to 80 ms out of a grid, in one seeded order for all severities.
  int64_t cell = std::max<int64_t>(rate / 10, 1), cells = (n + cell - 1) / cell;
  std::vector<std::pair<double, int64_t>> order;
  for (int64_t c = 0; c < cells; ++c) order.emplace_back(random.uniform(), c);
  std::sort(order.begin(), order.end());
  double wanted = share * static_cast<double>(n), lost = 0;
  for (auto [rank, c] : order) {
    if (lost >= wanted) break;
    double start = rank * 0.2, length = 0.8;
    int64_t from = c * cell + static_cast<int64_t>(start * static_cast<double>(cell));
    int64_t to =
        std::min<int64_t>(n, from + static_cast<int64_t>(length * static_cast<double>(cell)));
    for (int64_t i = from; i < to; ++i) x[i] = 0;
    lost += static_cast<double>(std::max<int64_t>(to - from, 0));
  }
}

}  // namespace

Waveform damage_audio(const Waveform& audio, const std::string& kind, double severity,
                      uint64_t seed) {
  at::Tensor samples = audio.samples.to(at::kFloat).contiguous().clone();
  int64_t channels = samples.dim() == 2 ? samples.size(0) : 1, n = samples.size(-1);
  double snr_db = 30 - 40 * severity;
  for (int64_t c = 0; c < channels; ++c) {
    DamageRandom random(seed);
    float* x = samples.data_ptr<float>() + c * n;
    if (kind == "white_noise") {
      std::vector<float> noise(n);
      for (float& v : noise) v = static_cast<float>(random.normal());
      add_at_snr(x, n, noise, snr_db);
    } else if (kind == "pink_noise") {
      add_at_snr(x, n, pink_noise(n, random), snr_db);
    } else if (kind == "babble_noise") {
      add_at_snr(x, n, babble(x, n, random), snr_db);
    } else if (kind == "clipping") {
      clip(x, n, 0.25 * severity);
    } else if (kind == "reverb") {
      reverb(x, n, audio.sample_rate, 0.2 + 1.3 * severity, severity, random);
    } else if (kind == "dropouts") {
      dropouts(x, n, audio.sample_rate, 0.6 * severity, random);
    } else {
      double gain = std::pow(10.0, -4 * severity);
      // What a recorder's 16 bits keep of the quieter sound.
      for (int64_t i = 0; i < n; ++i)
        x[i] = static_cast<float>(std::round(x[i] * gain * 32767) / 32767);
    }
  }
  return {samples, audio.sample_rate};
}

}  // namespace plait::data
