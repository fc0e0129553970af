#pragma once
#include "plait/data/text/aligned_text.h"

namespace plait::data {

/// The Unicode normalisation forms (UAX #15), by ICU's tables.
enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };

/// Brings the text into the form, keeping alignments.
void normalize_unicode(AlignedText& text, NormalForm form);

/// The full canonical decomposition of `c` is appended to `out`; false when `c` stands for itself.
bool decompose(char32_t c, std::u32string& out);
/// Canonical combining class.
uint8_t combining_class(char32_t c);

/// End of the extended grapheme cluster (UAX #29) that begins at `begin` of valid UTF-8.
size_t grapheme_end(std::string_view text, size_t begin);

/// A class that is the same for all characters of one script: -1 for the space and what has none;
/// kana count as Han.
int script_class(char32_t c);

}  // namespace plait::data
