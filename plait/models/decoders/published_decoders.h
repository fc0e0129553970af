#pragma once
#include <c10/core/ScalarType.h>

#include <memory>
#include <string>
#include <vector>

#include "plait/models/decoders/decoder.h"
#include "plait/models/encoders/published.h"

/// Published language models as they are → decoders of Plait.
namespace plait::models {

/// Translates a published config.json (model_type gpt2, llama, mistral, mixtral, qwen2, qwen3,
/// qwen2_moe, qwen3_moe) and its weights. A key that changes the computation and is not supported
/// is an error; keys without effect here are logged at debug level.
/// @throws Error kInvalidArgument naming `where`, the key, and what is supported.
TranslatedModel translate_published_decoder(const Json& config, const TensorMap& weights,
                                            const std::string& where);

/// The values of "model_type" that translate_published_decoder knows.
std::vector<std::string> published_decoder_types();

struct LoadedDecoder {
  std::shared_ptr<Decoder> decoder;  ///< In eval mode.
  Json config;                       ///< {"type": ..., ...}
};

/// Loads a language model's folder in the Hugging Face layout. Weights must match exactly.
/// @throws Error that names the folder and what is missing or unsupported.
LoadedDecoder load_published_decoder(const std::string& dir,
                                     c10::ScalarType dtype = c10::ScalarType::Float);

}  // namespace plait::models
