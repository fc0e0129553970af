#pragma once
#include <string>

#include "plait/core/json.h"
#include "plait/data/packages/cache.h"

namespace plait::models {

struct ConvertOptions {
  std::string dtype = "float32";  ///< Of floating tensors: float32, float16, bfloat16; or "stored".
};

/// Reads a weights file of any format (open_weights) and writes the folder `destination`:
/// model.safetensors (dequantised), and what the source tells beyond it: for GGUF language models
/// (gguf_language.h) config.json with the tensors under Hugging Face's names, tokenizer.json and
/// tokenizer_config.json; for a model folder its config and tokenizer. Types that safetensors files
/// of Plait do not have become wider ones; tensors that cannot be loaded (texts) are left out.
///
/// The folder is made under another name and renamed at the end: `destination` must not exist, or
/// be an empty folder, and after an error or a crash it is as it was. Returns {"path", "format",
/// "tensors", "bytes", "files": [names], "left_out": [names]}.
/// @throws Error kInvalidArgument for an existing destination or an unknown dtype; else as the
/// readers do; kIo.
Json convert_weights(const std::string& source, const std::string& destination,
                     const ConvertOptions& options = {}, const data::Progress& progress = {});

}  // namespace plait::models
