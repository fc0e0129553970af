#pragma once
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "plait/api/object_detector.h"
#include "plait/api/ocr_reader.h"
#include "plait/api/speech_recognizer.h"

namespace plait::api {

/// Which models hear, read and see: folders or names from `plait models list`.
struct PerceptionOptions {
  std::string speech_model = "whisper-base";
  std::string ocr_model = "pp-ocrv4";
  std::string object_model = "centernet";
  ModelOptions model;  ///< `backend` of all three
  TranscribeOptions transcribe;
  OcrOptions ocr;
  DetectOptions detect;
};

/// What was perceived; a sense that was given nothing has no value.
struct Percept {
  std::optional<Transcript> speech;
  std::optional<std::vector<OcrLine>> ocr;
  std::optional<std::vector<DetectedObject>> objects;
  /// {"text": what was said, "ocr": [{"text", "score", "box"}], "objects": [{"label", "score",
  /// "box"}]}; null for a sense that was given nothing.
  Json to_json() const;
};

/// Hears what is said, reads what is written and finds the things in a picture, by one call. Each
/// model is loaded (and fetched) when it is first needed. Thread-safe.
class Perception {
 public:
  explicit Perception(PerceptionOptions options = {}, data::Progress progress = {});

  /// Sound and picture as the readers of each take them; either may be absent. @throws Error
  /// kInvalidArgument when both are, and what the models throw.
  Percept process(const std::optional<Value>& audio, const std::optional<Value>& image) const;

 private:
  template <class T>
  std::shared_ptr<T> part(std::shared_ptr<T>& slot, const std::string& name) const;

  PerceptionOptions options_;
  data::Progress progress_;
  mutable std::mutex mutex_;
  mutable std::shared_ptr<SpeechRecognizer> speech_;
  mutable std::shared_ptr<OcrReader> ocr_;
  mutable std::shared_ptr<ObjectDetector> objects_;
};

}  // namespace plait::api
