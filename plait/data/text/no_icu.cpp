// In place of regex_icu.cpp and unicode_normal.cpp in a build without media.
#include "plait/core/error.h"
#include "plait/data/text/regex.h"
#include "plait/data/text/unicode_normal.h"

namespace plait::data {
namespace {

[[noreturn]] void unavailable(const char* what) {
  fail(ErrorCode::kUnavailable, "tokenizer",
       std::string(what) + " needs ICU, which this build of Plait lacks");
}

}  // namespace

std::shared_ptr<const Regex> compile_regex(const std::string&, const std::string&) {
  unavailable("a regular expression");
}

void normalize_unicode(AlignedText& text, NormalForm) {
  for (char c : text.bytes) {
    if (static_cast<unsigned char>(c) >= 0x80) unavailable("Unicode normalisation");
  }
}

bool decompose(char32_t c, std::u32string&) {
  if (c >= 0xC0) unavailable("Unicode normalisation");
  return false;
}

uint8_t combining_class(char32_t) { return 0; }

size_t grapheme_end(std::string_view, size_t) { unavailable("grapheme segmentation"); }

int script_class(char32_t) { unavailable("script segmentation"); }

}  // namespace plait::data
