#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "plait/api/speech_synthesizer.h"
#include "plait/models/decoders/prosody.h"

namespace plait::api {

/// Training of a prosody predictor on what a voice says.
struct ProsodyOptions {
  int64_t epochs = 40;
  int64_t batch_size = 16;
  double learning_rate = 2e-3;
  double weight_decay = 0.01;
  int64_t seed = 0;

  void visit(ConfigVisitor& v);
  static ProsodyOptions tiny() { return {}; }
  void validate() const;
};

/// Sentences as a voice spoke them, symbol by symbol (a symbol with the blank behind it).
struct ProsodyData {
  struct Sentence {
    at::Tensor ids;            ///< [T] int64, no blanks
    at::Tensor log_duration;   ///< [T] of 1 + frames
    at::Tensor pitch, voiced;  ///< [T] mean log Hz; where there is one
    at::Tensor energy;         ///< [T] log root mean square
  };
  std::vector<Sentence> sentences;
  double seconds = 0;
};

/// Errors on held-out sentences beside those of two predictors that need no training: the mean of
/// the training set, and the mean of each symbol.
struct ProsodyResult {
  struct Errors {
    double model = 0, mean = 0, symbol_mean = 0;  ///< Mean absolute
  };
  Errors log_duration, pitch, energy;  ///< pitch in semitones, energy in dB
  int64_t symbols = 0;
  double validation_loss = 0;
};

/// Lets a voice speak the texts (its own noise, `seed`) and measures it: durations are those that
/// it spoke by, pitch and energy are taken from the sound.
ProsodyData speak_for_prosody(const SpeechSynthesizer& voice, const std::vector<std::string>& texts,
                              int64_t seed,
                              const std::function<void(double, double)>& progress = {});

/// Trains on nine tenths of `train`, keeps the epoch with the least error on the rest, and measures
/// on `held_out`. `folder`: where config.json ({"model_type": "plait-prosody", ...}) and
/// model.safetensors go; "": nowhere. @throws Error kInvalidArgument for fewer than ten sentences.
ProsodyResult train_prosody(const ProsodyData& train, const ProsodyData& held_out,
                            const ProsodyOptions& options, const std::string& folder,
                            const std::function<void(double, double)>& progress = {});

}  // namespace plait::api
