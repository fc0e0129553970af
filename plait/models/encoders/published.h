#pragma once
#include <memory>
#include <string>
#include <vector>

#include "plait/core/json.h"
#include "plait/core/tensor_map.h"
#include "plait/models/encoders/encoder.h"

/// Published checkpoints as they are → encoders of Plait.
namespace plait::models {

/// A published model in Plait's terms.
struct TranslatedModel {
  Json config;        ///< {"type": registry name, ...}: what `create` takes.
  TensorMap weights;  ///< Names of that encoder's state_dict; heads and buffers that it lacks are
                      ///< left out.
};

/// Translates a published config.json and its weights. A key that changes the computation and is
/// not supported is an error; keys without effect here are logged at debug level. Without a config
/// (null) torchvision's ResNets and EfficientNet-Lite are recognised by their weights.
/// @throws Error kInvalidArgument naming `where`, the key, and what is supported.
TranslatedModel translate_published(const Json& config, const TensorMap& weights,
                                    const std::string& where);

/// The values of "model_type" that translate_published knows.
std::vector<std::string> published_model_types();

struct LoadedEncoder {
  std::shared_ptr<Encoder> encoder;  ///< In eval mode, fp32.
  Json config;                       ///< {"type": ..., ...}
};

/// Loads a published model's folder (Hugging Face layout, a torchvision .pth, a CTranslate2
/// Whisper). Weights must match exactly; only listed heads are ignored. @throws Error that names
/// the folder and what is missing or unsupported.
LoadedEncoder load_published(const std::string& dir);

}  // namespace plait::models
