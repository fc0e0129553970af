#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "plait/core/sample.h"

namespace plait::data {

/// How sound is decoded.
struct AudioOptions {
  int64_t sample_rate = 0;        ///< Hz of the result; 0 keeps the file's own rate.
  bool mono = true;               ///< Average of the channels as [N]; false keeps [C, N].
  double max_seconds = 2 * 3600;  ///< Longer sound is refused, by its header where that says so.
  double timeout_seconds = 300;   ///< Gives up on files that keep the decoder busy for longer.
};

/// WAV, FLAC, Ogg (Vorbis, Opus, FLAC) or MP3 bytes → float32 samples in [-1, 1]. Thread-safe. A
/// WAV or FLAC file that ends before its header says, or an Ogg file cut in a page, is an error; an
/// MP3 file carries no length, so a cut one gives what is there.
/// @throws Error kCorruptData for what does not decode, kResourceLimit for what is too long; both
/// start with `name`.
Waveform decode_audio(std::string_view bytes, const std::string& name,
                      const AudioOptions& options = {});

/// The same for a file (mapped, not read at once).
Waveform load_audio(const std::string& path, const AudioOptions& options = {});

/// [N] or [C, N] float32 at another rate, by libswresample's windowed sinc (64 taps, cut-off at
/// 0.97 of the lower Nyquist frequency); the length is ceil(N * to / from). @throws Error
/// kUnavailable without media, kInvalidArgument.
at::Tensor resample(const at::Tensor& samples, int64_t from_rate, int64_t to_rate);

/// The checked waveform as options ask: finite float32, mono, resampled.
Waveform convert_waveform(const Waveform& waveform, const std::string& where,
                          const AudioOptions& options);

/// 16-bit PCM WAV of [N] or [C, N]; values outside [-1, 1] are clipped.
std::string encode_wav(const Waveform& waveform);

}  // namespace plait::data
