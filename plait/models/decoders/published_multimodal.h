#pragma once
#include <c10/core/ScalarType.h>

#include <memory>
#include <string>
#include <vector>

#include "plait/models/decoders/multimodal_lm.h"
#include "plait/models/encoders/published.h"

/// Published language models that see or hear → MultimodalLm.
namespace plait::models {

/// Translates a published config.json (model_type llava, qwen2_audio) and its weights. A key that
/// changes the computation and is not supported is an error. The image tower ends at the layer
/// whose tokens are used; weights behind it are left out.
/// @throws Error kInvalidArgument naming `where`, the key, and what is supported.
TranslatedModel translate_published_multimodal(const Json& config, const TensorMap& weights,
                                               const std::string& where);

/// The values of "model_type" that translate_published_multimodal knows.
std::vector<std::string> published_multimodal_types();

/// Loads a folder in the Hugging Face layout, in eval mode. Weights must match exactly.
/// @throws Error that names the folder and what is missing or unsupported.
std::shared_ptr<MultimodalLm> load_published_multimodal(
    const std::string& dir, c10::ScalarType dtype = c10::ScalarType::Float);

}  // namespace plait::models
