#pragma once
#include <memory>
#include <string>

#include "plait/core/json.h"
#include "plait/models/decoders/vits.h"

/// Published voices → a speech model of Plait and what it wants to be fed.
namespace plait::models {

/// What a voice is made of. `voice` says how text becomes symbols: {"language": "en-us",
/// "front_end": "phonemes" | "letters", "symbols": {character: [ids]}, "begin", "end", "blank": an
/// id or null}; blank stands between symbols and around them.
struct VoiceParts {
  Json config;  ///< Of Vits
  Json voice;
  TensorMap weights;  ///< Names of Vits
};

struct LoadedVoice {
  std::shared_ptr<Vits> model;  ///< In eval mode, fp32.
  Json voice;                   ///< See VoiceParts
};

/// A voice of Piper: the .onnx file and the .onnx.json beside it. Weights that the exporter left
/// without a name are found through the graph, structure comes from shapes and attributes.
/// @throws Error kCorruptData naming the file and what is missing.
VoiceParts read_piper_voice(const std::string& onnx_path);

/// A folder of transformers' VitsModel (model_type "vits").
/// @throws Error kInvalidArgument for what is not supported.
VoiceParts read_transformers_voice(const std::string& dir);

/// transformers' config and weights → Vits's: weight norms are folded in, what only training needs
/// is dropped. `where` stands for the file in messages.
VoiceParts translate_vits(const Json& config, const TensorMap& weights, const std::string& where);
/// The same for SpeechT5HifiGan → HifiGan.
VoiceParts translate_hifi_gan(const Json& config, const TensorMap& weights,
                              const std::string& where);

/// A voice's folder: ours (save_voice), transformers' or Piper's (one .onnx with its .onnx.json).
/// @throws Error that names the folder and what is missing or unsupported.
LoadedVoice load_published_voice(const std::string& dir);

/// Writes config.json ({"model_type": "plait-voice", "vits": ..., "voice": ...}) and
/// model.safetensors.
void save_voice(const std::string& dir, const VoiceParts& parts);

}  // namespace plait::models
