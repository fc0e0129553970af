#pragma once
#include <string>
#include <vector>

#include "plait/data/packages/cache.h"

namespace plait::data {

/// A text to be spoken.
struct Utterance {
  std::string id;     ///< Unique in its list.
  std::string text;   ///< UTF-8, at most 1,000 bytes.
  std::string voice;  ///< An espeak-ng voice: "en-us", "en-gb+f3", "cmn" (Mandarin), "fr" ...
  int speed = 160;    ///< Words per minute, 80 to 400.
  int pitch = 50;     ///< 0 to 99.
};

/// Speaks each text with espeak-ng (Debian: espeak-ng; a GPL-3 program that is run, not linked) and
/// gives the WAV files (mono, 22.05 kHz) in the same order. They are kept in PLAIT_CACHE/speech by
/// content: what was spoken once is not spoken again. The speech is synthetic: say so wherever a
/// figure made with it is quoted.
/// @throws Error kUnavailable when espeak-ng is missing or fails (unknown voice), kInvalidArgument
/// for a bad utterance.
std::vector<std::string> synthesize_speech(const std::vector<Utterance>& utterances,
                                           const Progress& progress = {});

}  // namespace plait::data
