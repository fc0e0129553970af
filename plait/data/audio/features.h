#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

namespace plait::data {

/// Triangular filters [mels, n_fft / 2 + 1] on Slaney's mel scale, each of area one (librosa's and
/// Whisper's default), float32.
at::Tensor mel_filters(int64_t sample_rate, int64_t n_fft, int64_t mels, double min_hz,
                       double max_hz);

/// Power spectrum [B, n_fft / 2 + 1, 1 + N / hop] of samples [B, N] float32: periodic Hann window,
/// frames centred by padding n_fft / 2 on either side, by reflection or (`reflect` false) with
/// zeros.
at::Tensor power_spectrum(const at::Tensor& samples, int64_t n_fft, int64_t hop, bool reflect);

/// Whisper's features [B, mels, N / hop] of samples [B, N] at 16 kHz: log10 of the mel power, at
/// most 8 below the item's maximum, (x + 4) / 4. Source: Radford et al. 2022 and openai/whisper's
/// audio.py. `filters` from mel_filters(16000, 400, mels, 0, 8000).
at::Tensor whisper_log_mel(const at::Tensor& samples, const at::Tensor& filters);

}  // namespace plait::data
