#pragma once
#include <cstdint>
#include <limits>
#include <vector>

#include "plait/core/config.h"

namespace plait::runtime {

/// Where speech begins and ends. The defaults are those of the package silero-vad.
struct VoiceActivityOptions {
  double threshold = 0.5;      ///< Probability from which on a chunk is speech
  double exit_threshold = -1;  ///< Below it speech ends; below 0: threshold − 0.15
  double min_speech = 0.25;    ///< Seconds; shorter speech is dropped
  double max_speech = 1e9;     ///< Seconds; longer speech is cut at its longest silence
  double min_silence = 0.1;    ///< Seconds that end speech
  double pad = 0.03;           ///< Seconds added on either side

  void visit(ConfigVisitor& v);
  void validate() const;
};

/// Samples [start, end) at 16 kHz.
struct VoiceSegment {
  int64_t start = 0, end = 0;
  bool operator==(const VoiceSegment&) const = default;
};

/// Probabilities of chunks of 512 samples → stretches of speech, by two thresholds (hysteresis)
/// as silero-vad's get_speech_timestamps; `samples` is the length of the sound.
std::vector<VoiceSegment> voice_segments(const std::vector<double>& probabilities, int64_t samples,
                                         const VoiceActivityOptions& options = {});

}  // namespace plait::runtime
