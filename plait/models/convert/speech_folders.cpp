#include "plait/models/convert/speech_folders.h"

#include "plait/core/file.h"
#include "plait/core/weights/safetensors.h"
#include "plait/data/packages/archive.h"
#include "plait/data/speech/letter_to_sound.h"
#include "plait/data/speech/lexicon.h"
#include "plait/data/speech/phonemizer.h"
#include "plait/models/decoders/published_voice.h"

namespace plait::models {

void convert_english_voice(const std::string& onnx_path, const std::string& lexicon_dir,
                           const std::string& network_path, const std::string& scratch,
                           const std::string& target_dir) {
  save_voice(target_dir, read_piper_voice(onnx_path));
  const Json gold = Json::read(lexicon_dir + "/us_gold.json");
  const Json silver = Json::read(lexicon_dir + "/us_silver.json");
  const std::string lexicon = data::english_lexicon(gold, silver);
  data::Lexicon::parse(lexicon, "lexicon.tsv");
  write_file_atomic(target_dir + "/lexicon.tsv", lexicon);
  data::extract_archive(network_path, scratch);
  const TensorMap network = data::read_npy_folder(scratch);
  data::LetterToSound check(network);
  save_safetensors(target_dir + "/letter_to_sound.safetensors", network);
}

void convert_pinyin(const std::string& lexicon_dir, const std::string& target_dir) {
  const Json characters = Json::read(lexicon_dir + "/pinyin_dict.json");
  const Json phrases = Json::read(lexicon_dir + "/phrases_dict.json");
  const std::string lexicon = data::chinese_lexicon(characters, phrases);
  data::Lexicon::parse(lexicon, "hanzi.tsv");
  write_file_atomic(target_dir + "/hanzi.tsv", lexicon);
  Json::object({{"model_type", "plait-reader"}, {"voice", Json::object({{"language", "zh"}})}})
      .write(target_dir + "/config.json");
}

}  // namespace plait::models
