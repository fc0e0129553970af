#pragma once
#include <memory>
#include <string>
#include <vector>

#include "plait/core/json.h"

namespace plait::data {

/// Text → what a voice's symbols stand for, a sentence at a time.
class Phonemizer {
 public:
  virtual ~Phonemizer() = default;
  /// The sentences' phonemes (or letters) as UTF-8, words apart by spaces, marks where the text has
  /// pauses; none for a text that says nothing. @throws Error kResourceLimit for a very long text,
  /// kUnavailable when a program is missing. Thread-safe.
  virtual std::vector<std::string> operator()(const std::string& text) const = 0;
};

/// English from a lexicon, rules for endings, and a network for words that are in neither:
/// lexicon.tsv and letter_to_sound.safetensors of `dir`. IPA as espeak writes it, so that voices
/// trained on espeak's phonemes understand it.
std::shared_ptr<const Phonemizer> english_phonemizer(const std::string& dir);

/// espeak-ng, where it is installed, run as a program of its own (it is under the GPL and never
/// linked). `voice`: its name of the language ("en-us"). @throws Error kUnavailable when there is
/// no such program.
std::shared_ptr<const Phonemizer> espeak_phonemizer(const std::string& voice);

/// Chinese as numbered pinyin ("ni3 hao3"; ü as v, the neutral tone 5): numbers in characters, then
/// the longest phrases that hanzi.tsv of `dir` has, so that characters of several sounds get the
/// right one. `sandhi`: tones as they change before others (ni2 hao3). Letters of other scripts
/// stay as they are.
std::shared_ptr<const Phonemizer> chinese_phonemizer(const std::string& dir, bool sandhi = true);

/// The dictionaries of the package pypinyin (pinyin_dict.json, phrases_dict.json) as the text of a
/// Lexicon.
std::string chinese_lexicon(const Json& characters, const Json& phrases);

/// For voices that read letters: text in lower case, of the voice's own characters alone.
std::shared_ptr<const Phonemizer> letter_phonemizer(const std::vector<std::string>& characters);

/// The front end of a voice's folder by its name: "lexicon", "espeak", "letters", or "" for what
/// the voice wants and the folder has. `voice`: see models::VoiceParts.
std::shared_ptr<const Phonemizer> make_phonemizer(const Json& voice, const std::string& dir,
                                                  const std::string& name);

}  // namespace plait::data
