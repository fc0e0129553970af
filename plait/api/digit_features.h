#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "plait/core/sample.h"

/// Spoken digits as the study of audio-visual digits takes them: a second of sound in noise.
namespace plait::api {

constexpr int64_t kDigitRate = 8000;
constexpr int64_t kDigitMels = 46, kDigitFrames = 40;

/// Samples [N] at kDigitRate → [kDigitRate]: the part with sound, cut to a second, moved by up to
/// 20 ms from the middle, at a mean power of 0.01 while it sounds.
at::Tensor one_second(const at::Tensor& samples, uint64_t seed);

/// White, pink, brown or burst noise or mains hum (which one follows from the seed) is added at
/// this ratio of powers; the sum is scaled to a mean power of 0.0025, as a recorder that sets its
/// own level would. @param speech from one_second.
Waveform add_noise(const Waveform& speech, double snr_db, uint64_t seed);

/// A second of sound → [46 · 40] float32: cube roots of the power in 46 mel bands and 40 frames
/// that rises over the floor of the band (its 20th percentile), in deviations. @throws Error
/// kInvalidArgument for sound of another length or rate.
at::Tensor digit_sound_features(const Waveform& sound);

}  // namespace plait::api
