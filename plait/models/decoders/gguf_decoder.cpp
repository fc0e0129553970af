#include "plait/models/decoders/gguf_decoder.h"

#include <filesystem>

#include "plait/core/error.h"
#include "plait/core/file.h"
#include "plait/core/weights/model_folder.h"
#include "plait/data/text/gguf_tokenizer.h"
#include "plait/models/convert/gguf_language.h"

namespace plait::models {

DecoderFolder folder_from_gguf(const GgufFile& file, const std::string& where) try {
  DecoderFolder out;
  out.config = gguf_config(file);
  for (const GgufTensor& tensor : file.tensors()) {
    for (auto& [name, value] : gguf_hugging_face_tensors(file, tensor.name))
      out.weights[name] = std::move(value);
  }
  Json generation = Json::object({});
  for (const char* key : {"bos_token_id", "eos_token_id"}) {
    if (const Json* id = out.config.find(key)) generation[key] = *id;
  }
  out.files["generation_config.json"] = generation.dump(2);
  out.files["tokenizer.json"] = data::tokenizer_json_from_gguf(file.metadata()).dump();
  out.files["tokenizer_config.json"] = data::tokenizer_config_from_gguf(file.metadata()).dump(2);
  return out;
} catch (const Error& error) {
  fail(error.code(), "gguf", where + ": " + error.what());
}

void save_decoder_folder(const std::string& dir, const DecoderFolder& folder) {
  std::filesystem::create_directories(dir);
  for (const auto& [name, text] : folder.files)
    write_file_atomic((std::filesystem::path(dir) / name).string(), text);
  TensorMap weights;
  for (const auto& [name, tensor] : folder.weights) weights[name] = tensor.contiguous();
  save_model_folder(dir, folder.config, weights);
}

}  // namespace plait::models
