#pragma once
#include <string>
#include <vector>

namespace plait::data {

/// A word to be spoken.
struct SpokenWord {
  std::string text;  ///< Letters and apostrophes, in the text's own case
  char mark = 0;     ///< , ; : . ! ? behind it, or 0
};

/// A sentence of spoken words; the last one has a mark.
struct SpokenText {
  std::vector<SpokenWord> words;
};

/// English as it is spoken: numbers, amounts of money, percentages, times, dates, fractions, units,
/// abbreviations, initials and signs become words; sentences end at . ! ? and line breaks (not
/// behind abbreviations or in numbers). Characters that nobody says are left out. A sentence of
/// more than 120 words is divided at a comma or there. @throws Error kResourceLimit for more than
/// a million bytes.
std::vector<SpokenText> spell_english(const std::string& text);

}  // namespace plait::data
