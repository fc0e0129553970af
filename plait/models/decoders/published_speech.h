#pragma once
#include <memory>
#include <string>

#include "plait/core/json.h"
#include "plait/models/decoders/whisper_decoder.h"
#include "plait/models/encoders/whisper.h"

/// Published speech recognisers → an encoder and a decoder of Plait.
namespace plait::models {

struct LoadedSpeech {
  std::shared_ptr<Whisper> encoder;         ///< In eval mode, fp32.
  std::shared_ptr<WhisperDecoder> decoder;  ///< Likewise.
  /// How to decode, as transformers' generation_config.json says it (alignment_heads,
  /// suppress_tokens, begin_suppress_tokens ...); an empty object when the folder does not say.
  Json generation;
};

/// A folder of Whisper: ours (config.json of the encoder, decoder/), transformers' (model_type
/// "whisper") or CTranslate2's (model.bin). Weights must match exactly. @throws Error that names
/// the folder and what is missing or unsupported.
LoadedSpeech load_published_speech(const std::string& dir);

}  // namespace plait::models
