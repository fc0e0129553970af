#pragma once
#include "plait/core/config.h"
#include "plait/data/processor.h"

namespace plait::data {

/// Whisper's log-mel features.
struct WhisperConfig {
  int64_t mels = 80;
  double seconds = 30;
  std::string pad = "max";

  void visit(ConfigVisitor& v) {
    v.field("mels", mels, "Mel bands", {.min = 1, .max = 256});
    v.field("seconds", seconds, "Longer sound is cut to this", {.min = 0.1, .max = 7200});
    v.field("pad", pad,
            "Fill up with silence to `seconds`, or pad features to the longest of the batch",
            {.one_of = {"max", "longest"}});
  }
  static WhisperConfig tiny() { return {.mels = 16, .seconds = 1}; }
  void validate() const {}
};

/// Raw samples, each item with zero mean and unit variance (wav2vec 2.0).
struct WaveformConfig {
  int64_t sample_rate = 16000;
  bool normalise = true;
  double seconds = 60;
  std::string pad = "longest";

  void visit(ConfigVisitor& v) {
    v.field("sample_rate", sample_rate, "Hz", {.min = 1000, .max = 192000});
    v.field("normalise", normalise, "Zero mean and unit variance per item");
    v.field("seconds", seconds, "Longer sound is cut to this", {.min = 0.01, .max = 7200});
    v.field("pad", pad, "Pad with zeros to `seconds`, or to the longest of the batch",
            {.one_of = {"max", "longest"}});
  }
  static WaveformConfig tiny() { return {.seconds = 1}; }
  void validate() const {}
};

/// Log-mel features in general.
struct LogMelConfig {
  int64_t sample_rate = 16000;
  int64_t n_fft = 400;
  int64_t hop = 160;
  int64_t mels = 64;
  double min_hz = 0;
  double max_hz = 0;
  double seconds = 30;
  std::string pad = "longest";
  std::string log = "ln";
  double floor = 1e-6;
  std::string normalise = "none";
  bool reflect = false;

  void visit(ConfigVisitor& v) {
    v.field("sample_rate", sample_rate, "Hz", {.min = 1000, .max = 192000});
    v.field("n_fft", n_fft, "Window and transform length in samples", {.min = 16, .max = 16384});
    v.field("hop", hop, "Samples between frames", {.min = 1, .max = 16384});
    v.field("mels", mels, "Mel bands", {.min = 1, .max = 1024});
    v.field("min_hz", min_hz, "Lowest frequency", {.min = 0, .max = 96000});
    v.field("max_hz", max_hz, "Highest frequency; 0 is half the rate", {.min = 0, .max = 96000});
    v.field("seconds", seconds, "Longer sound is cut to this", {.min = 0.01, .max = 7200});
    v.field("pad", pad, "Pad to `seconds`, or to the longest of the batch",
            {.one_of = {"max", "longest"}});
    v.field("log", log, "Logarithm of the mel power", {.one_of = {"none", "ln", "log10"}});
    v.field("floor", floor, "Smallest mel power before the logarithm", {.min = 1e-12, .max = 1});
    v.field("normalise", normalise,
            "Zero mean and unit variance per item, over all bands or band by band",
            {.one_of = {"none", "item", "band"}});
    v.field("reflect", reflect, "Frames at the ends see reflected sound instead of silence");
  }
  static LogMelConfig tiny() { return {.mels = 16, .seconds = 1}; }
  void validate() const;
  /// What resemblyzer's speaker encoder takes: 40 bands of mel power, no logarithm.
  static LogMelConfig speaker() { return {.mels = 40, .log = "none"}; }
};

/// What the audio processors share: rows are computed one by one, so that an item's features do not
/// depend on its batch.
class AudioProcessor : public Processor {
 public:
  Modality modality() const override { return Modality::kAudio; }
  TensorMap process(const std::vector<const Value*>& values, const std::string& where) const final;
  /// Nothing to write: config() says it all.
  void save(const std::string&) const override {}

 protected:
  struct Shape {
    int64_t sample_rate;
    double seconds;
    bool to_max;       ///< Pad all rows to the length of `seconds`.
    const char* name;  ///< Of the output.
  };
  virtual Shape shape() const = 0;
  /// Mono samples [N] → features [..., T]; `real` gets the number of real steps of T.
  virtual at::Tensor features(const at::Tensor& samples, int64_t& real) const = 0;
  virtual int64_t bands() const = 0;                 ///< 0 for raw samples.
  virtual int64_t steps(int64_t samples) const = 0;  ///< T of that many samples.
  /// What padding steps of a row hold.
  virtual double padding(const at::Tensor& row) const { return 0; }
};

/// Sound → input_features [B, mels, frames] float32, attention_mask [B, frames] int64. With pad
/// "max" as WhisperFeatureExtractor of transformers; with "longest" rows are computed at their own
/// length and then padded.
class WhisperProcessor : public AudioProcessor {
 public:
  explicit WhisperProcessor(const WhisperConfig& config);
  static WhisperConfig from_published(const Json& preprocessor_config, const std::string& where);
  Json config() const override;

 protected:
  Shape shape() const override {
    return {16000, config_.seconds, config_.pad == "max", "input_features"};
  }
  at::Tensor features(const at::Tensor& samples, int64_t& real) const override;
  int64_t bands() const override { return config_.mels; }
  int64_t steps(int64_t samples) const override { return samples / 160; }
  double padding(const at::Tensor& row) const override;

 private:
  WhisperConfig config_;
  at::Tensor filters_;
};

/// Sound → input_values [B, N] float32, attention_mask [B, N] int64, as Wav2Vec2FeatureExtractor of
/// transformers with its attention mask switched on.
class WaveformProcessor : public AudioProcessor {
 public:
  explicit WaveformProcessor(const WaveformConfig& config) : config_(config) {}
  static WaveformConfig from_published(const Json& preprocessor_config, const std::string& where);
  Json config() const override;

 protected:
  Shape shape() const override {
    return {config_.sample_rate, config_.seconds, config_.pad == "max", "input_values"};
  }
  at::Tensor features(const at::Tensor& samples, int64_t& real) const override;
  int64_t bands() const override { return 0; }
  int64_t steps(int64_t samples) const override { return samples; }

 private:
  WaveformConfig config_;
};

/// Sound → input_features [B, mels, frames] float32, attention_mask [B, frames] int64; frames = 1 +
/// N / hop.
class LogMelProcessor : public AudioProcessor {
 public:
  explicit LogMelProcessor(const LogMelConfig& config);
  Json config() const override;

 protected:
  Shape shape() const override {
    return {config_.sample_rate, config_.seconds, config_.pad == "max", "input_features"};
  }
  at::Tensor features(const at::Tensor& samples, int64_t& real) const override;
  int64_t bands() const override { return config_.mels; }
  int64_t steps(int64_t samples) const override { return 1 + samples / config_.hop; }

 private:
  LogMelConfig config_;
  at::Tensor filters_;
};

}  // namespace plait::data
