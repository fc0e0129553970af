#include "plait/runtime/transcribe/voice_activity.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "plait/core/error.h"

namespace plait::runtime {
namespace {

constexpr double kRate = 16000;
constexpr int64_t kChunk = 512;
/// Silence that is long enough to cut overlong speech at.
constexpr double kCutSilence = 0.098 * kRate;

/// A silence within speech.
struct Gap {
  int64_t start, length;
};

/// Follows the probabilities chunk by chunk.
class Hysteresis {
 public:
  Hysteresis(int64_t samples, const VoiceActivityOptions& o)
      : samples_(samples),
        enter_(o.threshold),
        exit_(o.exit_threshold >= 0 ? o.exit_threshold : std::max(o.threshold - 0.15, 0.01)),
        min_speech_(kRate * o.min_speech),
        max_speech_(kRate * o.max_speech - kChunk - 2 * kRate * o.pad),
        min_silence_(kRate * o.min_silence) {}

  void chunk(int64_t at, double probability) {
    if (probability >= enter_ && silence_) {
      if (at - *silence_ > kCutSilence) gaps_.push_back({*silence_, at - *silence_});
      silence_.reset();
    }
    if (probability >= enter_ && !start_) {
      start_ = at;
      return;
    }
    if (start_ && static_cast<double>(at - *start_) > max_speech_ && cut(at)) return;
    if (probability >= exit_ || !start_) return;
    if (!silence_) silence_ = at;
    if (static_cast<double>(at - *silence_) < min_silence_) return;
    close(*silence_, min_speech_);
  }
  std::vector<VoiceSegment> finish() {
    if (start_) close(samples_, min_speech_);
    return std::move(found_);
  }

 private:
  void close(int64_t end, double least) {
    if (static_cast<double>(end - *start_) > least) found_.push_back({*start_, end});
    start_.reset();
    silence_.reset();
    gaps_.clear();
  }
  /// Ends overlong speech at its longest silence, after which it goes on, or here.
  bool cut(int64_t at) {
    auto longest = std::max_element(gaps_.begin(), gaps_.end(),
                                    [](const Gap& a, const Gap& b) { return a.length < b.length; });
    if (longest == gaps_.end()) {
      close(at, -1);
      return true;
    }
    const Gap gap = *longest;
    close(gap.start, -1);
    start_ = gap.start + gap.length;
    return false;
  }

  int64_t samples_;
  double enter_, exit_, min_speech_, max_speech_, min_silence_;
  std::optional<int64_t> start_, silence_;
  std::vector<Gap> gaps_;
  std::vector<VoiceSegment> found_;
};

}  // namespace

void VoiceActivityOptions::visit(ConfigVisitor& v) {
  v.field("threshold", threshold, "Probability from which on a chunk is speech",
          {.min = 0.01, .max = 1});
  v.field("exit_threshold", exit_threshold, "Below it speech ends; below 0: threshold - 0.15",
          {.min = -1, .max = 1});
  v.field("min_speech", min_speech, "Seconds; shorter speech is dropped", {.min = 0, .max = 60});
  v.field("max_speech", max_speech, "Seconds; longer speech is cut", {.min = 0.5, .max = 1e9});
  v.field("min_silence", min_silence, "Seconds that end speech", {.min = 0, .max = 60});
  v.field("pad", pad, "Seconds added on either side", {.min = 0, .max = 10});
}

void VoiceActivityOptions::validate() const {
  require(exit_threshold < threshold, "voice activity",
          "expected exit_threshold to be below threshold");
}

std::vector<VoiceSegment> voice_segments(const std::vector<double>& probabilities, int64_t samples,
                                         const VoiceActivityOptions& options) {
  options.validate();
  Hysteresis hysteresis(samples, options);
  for (size_t i = 0; i < probabilities.size(); ++i)
    hysteresis.chunk(static_cast<int64_t>(i) * kChunk, probabilities[i]);
  std::vector<VoiceSegment> found = hysteresis.finish();
  const double pad = kRate * options.pad;
  for (size_t i = 0; i < found.size(); ++i) {
    VoiceSegment& now = found[i];
    if (i == 0)
      now.start = static_cast<int64_t>(std::max(0.0, static_cast<double>(now.start) - pad));
    if (i + 1 < found.size()) {
      VoiceSegment& next = found[i + 1];
      const int64_t silence = next.start - now.end;
      // Neighbours share a silence that is too short for both pads.
      if (static_cast<double>(silence) < 2 * pad) {
        now.end += silence / 2;
        next.start = std::max<int64_t>(0, next.start - silence / 2);
        continue;
      }
      next.start = static_cast<int64_t>(std::max(0.0, static_cast<double>(next.start) - pad));
    }
    now.end = static_cast<int64_t>(
        std::min(static_cast<double>(samples), static_cast<double>(now.end) + pad));
  }
  return found;
}

}  // namespace plait::runtime
