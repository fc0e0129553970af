#include "plait/data/audio/features.h"

#include <ATen/ATen.h>

#include <cmath>
#include <vector>

#include "plait/core/error.h"
#include "plait/core/tensor_map.h"

namespace plait::data {
namespace {

// Slaney's scale: linear below 1 kHz, logarithmic above.
constexpr double kHzPerMel = 200.0 / 3.0;
constexpr double kBreakHz = 1000.0;
constexpr double kBreakMel = kBreakHz / kHzPerMel;
const double kLogStep = std::log(6.4) / 27.0;

double to_mel(double hz) {
  return hz < kBreakHz ? hz / kHzPerMel : kBreakMel + std::log(hz / kBreakHz) / kLogStep;
}
double to_hz(double mel) {
  return mel < kBreakMel ? mel * kHzPerMel : kBreakHz * std::exp(kLogStep * (mel - kBreakMel));
}

}  // namespace

at::Tensor mel_filters(int64_t sample_rate, int64_t n_fft, int64_t mels, double min_hz,
                       double max_hz) {
  require(sample_rate > 0 && n_fft > 1 && mels > 0 && min_hz >= 0 && max_hz > min_hz, "mel filters",
          "expected a positive rate, n_fft and number of mels, and 0 <= min_hz < max_hz");
  std::vector<double> edges(static_cast<size_t>(mels) + 2);
  double low = to_mel(min_hz);
  double step = (to_mel(max_hz) - low) / static_cast<double>(mels + 1);
  for (size_t i = 0; i < edges.size(); ++i) edges[i] = to_hz(low + step * static_cast<double>(i));
  int64_t bins = n_fft / 2 + 1;
  at::Tensor out = at::zeros({mels, bins}, at::kFloat);
  auto w = out.accessor<float, 2>();
  for (int64_t m = 0; m < mels; ++m) {
    double left = edges[static_cast<size_t>(m)];
    double middle = edges[static_cast<size_t>(m) + 1];
    double right = edges[static_cast<size_t>(m) + 2];
    for (int64_t k = 0; k < bins; ++k) {
      double hz =
          static_cast<double>(k) * static_cast<double>(sample_rate) / static_cast<double>(n_fft);
      double height = std::min((hz - left) / (middle - left), (right - hz) / (right - middle));
      if (height > 0) w[m][k] = static_cast<float>(height * 2.0 / (right - left));
    }
  }
  return out;
}

at::Tensor power_spectrum(const at::Tensor& samples, int64_t n_fft, int64_t hop, bool reflect) {
  if (samples.dim() != 2 || samples.scalar_type() != at::kFloat || samples.size(1) == 0) {
    fail(ErrorCode::kInvalidArgument, "spectrum",
         "expected float32 samples [B, N], got " + describe(samples));
  }
  int64_t half = n_fft / 2;
  // Reflection needs more samples than it copies; shorter sound is followed by silence first.
  at::Tensor input = samples;
  if (reflect && input.size(1) <= half)
    input = at::constant_pad_nd(input, {0, half + 1 - input.size(1)});
  input = reflect ? at::reflection_pad1d(input, {half, half})
                  : at::constant_pad_nd(input, {half, half});
  at::Tensor window = at::hann_window(n_fft, true, samples.options());
  at::Tensor spectrum =
      at::stft(input, n_fft, hop, n_fft, window, /*normalized=*/false, /*onesided=*/true,
               /*return_complex=*/true);
  return at::view_as_real(spectrum).square().sum(-1);
}

at::Tensor whisper_log_mel(const at::Tensor& samples, const at::Tensor& filters) {
  at::Tensor power = power_spectrum(samples, 400, 160, true);
  power = power.slice(2, 0, power.size(2) - 1);
  at::Tensor mel = at::matmul(filters, power).clamp_min_(1e-10).log10_();
  mel = at::maximum(mel, mel.amax({1, 2}, true) - 8.0);
  return mel.add_(4.0).div_(4.0);
}

}  // namespace plait::data
