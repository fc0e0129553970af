#pragma once
#include <memory>
#include <string>
#include <vector>

#include "plait/models/encoders/silero_vad.h"
#include "plait/runtime/transcribe/transcriber.h"

namespace plait::runtime {

/// How live speech is followed.
struct StreamOptions {
  /// Of every look. One temperature, unless told otherwise: who listens does not wait for others.
  TranscribeOptions transcribe;
  StreamOptions() { transcribe.temperatures = {0}; }
  double step = 1;           ///< Seconds of new sound between two looks at it
  double min_silence = 0.6;  ///< Seconds of silence that end an utterance
  double max_window = 24;    ///< Seconds of sound that are kept for one look
  double threshold = 0.5;    ///< Probability from which on a chunk is speech

  void visit(ConfigVisitor& v);
  void validate() const;
};

/// What has become known.
struct StreamUpdate {
  std::string text;              ///< Final: never taken back
  std::string tentative;         ///< What follows it for now
  double start = 0, end = 0;     ///< Of `text`, seconds from the start of the stream
  std::vector<TimedWord> words;  ///< Of `text`
  bool ends_utterance = false;   ///< Silence follows
};

/// Speech as it comes, in chunks of any length. A growing window is transcribed every `step`
/// seconds; words are final once two looks in a row agree on them, or when silence ends the
/// utterance (voice activity detection, when there is a detector). Not thread-safe.
class SpeechStream {
 public:
  /// `detector` may be null: then everything is taken for speech.
  SpeechStream(std::shared_ptr<const Transcriber> transcriber,
               std::shared_ptr<const models::SileroVad> detector, const StreamOptions& options);

  /// samples [N] float32 at 16 kHz, of any length. @throws Error kInvalidArgument for others, and
  /// after finish.
  std::vector<StreamUpdate> accept(const at::Tensor& samples);
  /// The end of the stream: all that is left becomes final.
  std::vector<StreamUpdate> finish();
  /// Everything final so far.
  const std::string& text() const { return text_; }
  /// Of the stream, as far as it was detected or given.
  const std::string& language() const { return options_.transcribe.language; }

 private:
  void listen(const at::Tensor& samples);
  std::vector<TimedWord> hypothesis();
  StreamUpdate look();
  StreamUpdate end_utterance();
  void take(StreamUpdate& update, std::vector<TimedWord> words);
  void drop_before(double time);
  double now() const { return start_ + static_cast<double>(buffer_.size(0)) / kRate; }

  static constexpr double kRate = 16000;
  std::shared_ptr<const Transcriber> transcriber_;
  std::shared_ptr<const models::SileroVad> detector_;
  StreamOptions options_;
  at::Tensor buffer_, unheard_;  ///< Sound that is kept, and that is no whole chunk yet
  models::SileroVad::State state_;
  double start_ = 0;   ///< Of the buffer, seconds
  double looked_ = 0;  ///< Until where the last look went
  double agreed_ = 0;  ///< Until where words are final
  double spoke_ = -1;  ///< When speech was heard last; below 0: not in this utterance
  bool finished_ = false;
  std::vector<TimedWord> before_;  ///< Tentative words of the last look
  std::vector<TimedWord> held_;    ///< Final words whose sound is kept
  std::string text_;
};

}  // namespace plait::runtime
