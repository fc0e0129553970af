#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "plait/core/json.h"

namespace plait::data {

/// What words sound like: sorted lines "word TAB phonemes", after which further "TAB KIND=phonemes"
/// may stand for a word that sounds otherwise as a verb or participle. Immutable, thread-safe.
class Lexicon {
 public:
  /// @throws Error kNotFound, kCorruptData naming the file and the line.
  static Lexicon load(const std::string& path);
  static Lexicon parse(std::string text, const std::string& name);

  /// The phonemes of a word (as it is written in the lexicon: mostly lower case) or "".
  /// `kind` is "VERB", "VBN" ... or "".
  std::string find(std::string_view word, std::string_view kind = "") const;
  size_t size() const { return lines_.size(); }

 private:
  std::string_view line(size_t i) const;
  std::string text_;
  std::vector<uint32_t> lines_;
};

/// The package misaki's dictionaries of American English (us_gold.json, us_silver.json), whose
/// alphabet writes a sound with one letter, as the text of a Lexicon in IPA as espeak writes it.
std::string english_lexicon(const Json& gold, const Json& silver);

/// misaki's letters → IPA as espeak writes it ("həlˈO" → "həlˈoʊ").
std::string misaki_to_ipa(std::string_view phonemes);

/// ARPAbet sounds with stress digits ("HH AH0 L OW1", by spaces) → IPA as espeak writes it.
std::string arpabet_to_ipa(std::string_view sounds);

}  // namespace plait::data
