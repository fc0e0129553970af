#pragma once
#include <map>
#include <string>

#include "plait/core/weights/gguf.h"

namespace plait::models {

/// What a language model's folder in the Hugging Face layout holds.
struct DecoderFolder {
  Json config;                               ///< config.json, with the file's "model_type"
  TensorMap weights;                         ///< By the names of transformers
  std::map<std::string, std::string> files;  ///< tokenizer.json, generation_config.json ...
};

/// A language model in a GGUF file (what convert/gguf_language.h knows), dequantised to fp32, with
/// its tokenizer and chat template. `where` names the file in messages.
/// @throws Error kUnavailable for another architecture, kCorruptData for metadata that is missing.
DecoderFolder folder_from_gguf(const GgufFile& file, const std::string& where);

/// Writes the folder; config.json comes last.
void save_decoder_folder(const std::string& dir, const DecoderFolder& folder);

}  // namespace plait::models
