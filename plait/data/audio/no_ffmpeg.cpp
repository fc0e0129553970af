#include "plait/core/error.h"
#include "plait/data/audio/codec.h"

namespace plait::data {

bool audio_codecs_available() { return false; }

RawAudio decode_samples(std::span<const uint8_t>, const std::string& name, const AudioRequest&) {
  fail(ErrorCode::kUnavailable, "audio",
       name + ": expected a build with PLAIT_WITH_MEDIA=ON to decode sound, got one without");
}

std::vector<float> resample_samples(const float*, int64_t, int64_t from_rate, int64_t to_rate) {
  fail(ErrorCode::kUnavailable, "audio",
       "expected a build with PLAIT_WITH_MEDIA=ON to resample from " + std::to_string(from_rate) +
           " to " + std::to_string(to_rate) + " Hz, got one without");
}

}  // namespace plait::data
