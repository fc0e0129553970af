#pragma once
#include <ATen/core/Tensor.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "plait/core/config.h"
#include "plait/models/decoders/published_voice.h"

namespace plait::runtime {

/// How to speak.
struct SpeakOptions {
  double speed = 1;            ///< Above 1: faster
  double noise = -1;           ///< Variation of the sound; below 0: the voice's own
  double noise_duration = -1;  ///< Variation of the rhythm; below 0: the voice's own
  int64_t seed = 0;            ///< The same seed, the same sound
  int64_t speaker = 0;         ///< Of a voice with several
  double pause = 0.2;          ///< Seconds of silence between sentences
  double first_chunk = 0.25;   ///< Seconds of a stream's first piece; pieces grow from there
  double longest_chunk = 4;    ///< Seconds of its pieces at most

  void visit(ConfigVisitor& v);
  static SpeakOptions tiny() { return {}; }
  void validate() const;
};

class Speaker;

/// Speech a piece at a time, sentence by sentence: the first piece is ready before the rest is
/// computed. Pieces put together equal the sound spoken at once (up to rounding): frames come with
/// as many neighbours as the generator sees. One thread at a time.
class SpokenStream {
 public:
  SpokenStream(std::shared_ptr<const Speaker> speaker, std::vector<std::string> sentences,
               const SpeakOptions& options);
  /// The next samples [N] float32 on the CPU, or nothing at the end.
  std::optional<at::Tensor> next();
  /// So many sentences have been begun, of so many.
  size_t begun() const { return sentence_; }
  size_t sentences() const { return sentences_.size(); }

 private:
  std::shared_ptr<const Speaker> speaker_;
  std::vector<std::string> sentences_;
  SpeakOptions options_;
  size_t sentence_ = 0;
  models::VitsLatents latents_;  ///< Of the sentence that is being spoken
  int64_t frame_ = 0, chunk_ = 0;
};

/// A voice that speaks phonemes: VITS with the alphabet that it was trained on. Immutable;
/// thread-safe.
class Speaker : public std::enable_shared_from_this<Speaker> {
 public:
  /// @throws Error kCorruptData for an alphabet that does not fit the model.
  explicit Speaker(models::LoadedVoice voice);

  /// The ids of a sentence's phonemes, blanks and ends included; characters that the voice does not
  /// know are left out. Empty when it knows none.
  std::vector<int64_t> symbols(const std::string& phonemes) const;
  /// The sentences' samples [N] float32.
  at::Tensor operator()(const std::vector<std::string>& sentences,
                        const SpeakOptions& options = {}) const;
  /// Symbols as they are, with noise that is given (undefined: drawn): see models::Vits::forward.
  at::Tensor speak_symbols(const TensorMap& inputs, const SpeakOptions& options = {}) const;
  /// Latents of a sentence; `index` is its place in the text, for its noise.
  models::VitsLatents latents(const std::vector<int64_t>& symbols, const SpeakOptions& options,
                              size_t index) const;
  /// Samples of the frames [begin, end) of a sentence.
  at::Tensor sound(const models::VitsLatents& latents, int64_t begin, int64_t end) const;

  int64_t sample_rate() const { return voice_.model->options().sampling_rate; }
  int64_t hop() const { return voice_.model->generator().hop(); }
  const models::Vits& model() const { return *voice_.model; }
  const Json& voice() const { return voice_.voice; }

 private:
  models::VitsStyle style(const SpeakOptions& options) const;
  models::LoadedVoice voice_;
  std::map<char32_t, std::vector<int64_t>> ids_;
  std::optional<int64_t> begin_, end_, blank_;
};

}  // namespace plait::runtime
