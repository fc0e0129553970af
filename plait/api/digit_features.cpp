#include "plait/api/digit_features.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "plait/core/error.h"
#include "plait/data/audio/features.h"
#include "plait/data/augment/kinds.h"

namespace plait::api {
namespace {

constexpr double kSpeechPower = 0.01, kRecordedPower = 0.0025;
constexpr int64_t kWindow = 256, kHop = kDigitRate / kDigitFrames;

using Samples = std::vector<double>;

Samples white(data::DamageRandom& random) {
  Samples out(kDigitRate);
  for (double& v : out) v = random.normal();
  return out;
}

/// White noise through poles at 0.999, 0.97 and 0.6: close to 1 / f in power.
Samples pink(data::DamageRandom& random) {
  Samples out = white(random);
  double slow = 0, middle = 0, fast = 0;
  for (double& v : out) {
    slow = 0.999 * slow + 0.03 * v;
    middle = 0.97 * middle + 0.16 * v;
    fast = 0.6 * fast + 0.6 * v;
    v = slow + middle + fast + 0.2 * v;
  }
  return out;
}

Samples brown(data::DamageRandom& random) {
  Samples out = white(random);
  double sum = 0;
  for (double& v : out) v = sum = 0.995 * sum + v;
  return out;
}

/// Mains of 50 or 60 Hz with harmonics.
Samples hum(data::DamageRandom& random) {
  Samples out(kDigitRate, 0.0);
  const double base = random.uniform() < 0.5 ? 50 : 60;
  for (int harmonic = 1; harmonic <= 24; ++harmonic) {
    const double phase = 2 * M_PI * random.uniform(),
                 level = random.uniform() / std::sqrt(harmonic);
    for (int64_t i = 0; i < kDigitRate; ++i)
      out[i] += level *
                std::sin(2 * M_PI * base * harmonic * static_cast<double>(i) / kDigitRate + phase);
  }
  return out;
}

/// Six bursts of white noise, 30 to 130 ms long.
Samples bursts(data::DamageRandom& random) {
  Samples noise = white(random), out(kDigitRate, 0.0);
  for (int burst = 0; burst < 6; ++burst) {
    const auto length = static_cast<int64_t>((0.03 + 0.1 * random.uniform()) * kDigitRate);
    const int64_t start = random.below(kDigitRate - length);
    for (int64_t i = start; i < start + length; ++i) out[i] = noise[i];
  }
  return out;
}

double power(const Samples& x) {
  double sum = 0;
  for (double v : x) sum += v * v;
  return sum / static_cast<double>(std::max<size_t>(x.size(), 1));
}

}  // namespace

at::Tensor one_second(const at::Tensor& samples, uint64_t seed) {
  if (samples.dim() != 1 || samples.scalar_type() != at::kFloat)
    fail(ErrorCode::kInvalidArgument, "digits", "expected samples [N] float32");
  at::Tensor held = samples.contiguous();
  const float* x = held.const_data_ptr<float>();
  const int64_t count = held.size(0), cell = kDigitRate / 100;
  float loudest = 0;
  for (int64_t i = 0; i < count; ++i) loudest = std::max(loudest, std::fabs(x[i]));
  // From the first to the last 10 ms that reach a thirtieth of the loudest sample.
  int64_t first = count, last = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (std::fabs(x[i]) < loudest / 30) continue;
    first = std::min(first, i / cell * cell);
    last = std::min(count, (i / cell + 1) * cell);
  }
  at::Tensor out = at::zeros({kDigitRate});
  if (loudest <= 0 || !std::isfinite(loudest)) return out;
  const int64_t length = std::min(last - first, kDigitRate);
  first += (last - first - length) / 2;
  at::Tensor sound = held.slice(0, first, first + length);
  data::DamageRandom random(seed);
  const auto shift = static_cast<int64_t>((random.uniform() - 0.5) * 0.04 * kDigitRate);
  const int64_t start =
      std::clamp<int64_t>((kDigitRate - length) / 2 + shift, 0, kDigitRate - length);
  const double level = sound.to(at::kDouble).square().mean().item<double>();
  out.slice(0, start, start + length)
      .copy_(sound * std::sqrt(kSpeechPower / std::max(level, 1e-12)));
  return out;
}

Waveform add_noise(const Waveform& speech, double snr_db, uint64_t seed) {
  if (speech.sample_rate != kDigitRate || speech.samples.sizes() != at::IntArrayRef({kDigitRate}))
    fail(ErrorCode::kInvalidArgument, "digits", "expected a second of sound at 8 kHz");
  data::DamageRandom random(seed);
  using Make = Samples (*)(data::DamageRandom&);
  constexpr Make kKinds[] = {white, pink, brown, hum, bursts};
  Samples sum = kKinds[random.below(std::size(kKinds))](random);
  const double gain =
      std::sqrt(kSpeechPower * std::pow(10.0, -snr_db / 10) / std::max(power(sum), 1e-12));
  at::Tensor held = speech.samples.to(at::kFloat).contiguous();
  const float* x = held.const_data_ptr<float>();
  for (int64_t i = 0; i < kDigitRate; ++i) sum[i] = x[i] + gain * sum[i];
  const double level = std::sqrt(kRecordedPower / std::max(power(sum), 1e-12));
  at::Tensor out = at::empty({kDigitRate});
  float* y = out.data_ptr<float>();
  for (int64_t i = 0; i < kDigitRate; ++i)
    y[i] = static_cast<float>(std::clamp(level * sum[i], -1.0, 1.0));
  return {out, kDigitRate};
}

at::Tensor digit_sound_features(const Waveform& sound) {
  if (sound.sample_rate != kDigitRate || sound.samples.sizes() != at::IntArrayRef({kDigitRate}))
    fail(ErrorCode::kInvalidArgument, "digits", "expected a second of sound at 8 kHz");
  static const at::Tensor kFilters =
      data::mel_filters(kDigitRate, kWindow, kDigitMels, 60, 0.5 * kDigitRate);
  at::Tensor spectrum =
      data::power_spectrum(sound.samples.unsqueeze(0), kWindow, kHop, /*reflect=*/false)[0];
  at::Tensor mel = at::matmul(kFilters, spectrum.slice(1, 0, kDigitFrames));
  at::Tensor floor = std::get<0>(mel.kthvalue(kDigitFrames / 5, 1, /*keepdim=*/true));
  at::Tensor rises = (mel - floor).clamp_min(0).pow(1.0 / 3);
  return (rises / (rises.std(/*unbiased=*/false) + 1e-6)).flatten();
}

}  // namespace plait::api
