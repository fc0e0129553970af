#pragma once
#include <string>

namespace plait::models {

/// An English voice of Piper with what reads text for it → a voice's folder: see save_voice, and
/// lexicon.tsv (from misaki's us_gold.json and us_silver.json in `lexicon_dir`) and
/// letter_to_sound.safetensors (from g2p-en's checkpoint20.npz). `scratch`: an empty folder to
/// unpack in.
void convert_english_voice(const std::string& onnx_path, const std::string& lexicon_dir,
                           const std::string& network_path, const std::string& scratch,
                           const std::string& target_dir);

/// pypinyin's pinyin_dict.json and phrases_dict.json → a folder that reads Chinese: hanzi.tsv and
/// config.json ({"model_type": "plait-reader", "voice": {"language": "zh"}}).
void convert_pinyin(const std::string& lexicon_dir, const std::string& target_dir);

}  // namespace plait::models
