#pragma once
#include "plait/core/json.h"

namespace plait::data {

/// The tokenizer inside a GGUF file's metadata (GgufFile::metadata()) as a tokenizer.json:
/// `Tokenizer::parse(tokenizer_json_from_gguf(file.metadata()).dump())`. Byte-level BPE ("gpt2")
/// with the pre-tokenizers of GPT-2, SmolLM/StarCoder/Command-R, Llama 3, Qwen2 and llama.cpp's
/// "default", and SentencePiece's BPE ("llama"), whose merges follow from the scores. Control
/// tokens become special added ones, user-defined ones added ones. The beginning and end are added
/// as the file says.
/// @throws Error kCorruptData naming the key; kUnavailable for a tokenizer of another kind.
Json tokenizer_json_from_gguf(const Json& metadata);

/// What belongs into tokenizer_config.json beside it: the special tokens' texts, add_bos_token,
/// add_eos_token, model_max_length and the chat template, each where the file has it.
Json tokenizer_config_from_gguf(const Json& metadata);

}  // namespace plait::data
