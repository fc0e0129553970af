#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace plait::data {

/// Decoded sound, interleaved: sample n of channel c is samples[n * channels + c]. No torch in this
/// header.
struct RawAudio {
  int64_t sample_rate = 0;
  int64_t channels = 0;
  std::vector<float> samples;
};

struct AudioRequest {
  int64_t sample_rate = 0;  ///< 0: the file's own.
  bool mono = true;
  double max_seconds = 0;
  double timeout_seconds = 0;
};

/// Whether this build can decode and resample sound.
bool audio_codecs_available();

/// @throws Error kCorruptData, kResourceLimit, kUnavailable; messages start with `name`.
RawAudio decode_samples(std::span<const uint8_t> bytes, const std::string& name,
                        const AudioRequest& request);

/// One channel at another rate.
std::vector<float> resample_samples(const float* samples, int64_t count, int64_t from_rate,
                                    int64_t to_rate);

}  // namespace plait::data
