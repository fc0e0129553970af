// Stands in for xml.cpp and emoji_font.cpp in builds without expat and HarfBuzz.
#include "plait/core/error.h"
#include "plait/data/datasets/emoji_font.h"
#include "plait/data/datasets/xml.h"

namespace plait::data {
namespace {
[[noreturn]] void missing(const char* what) {
  fail(ErrorCode::kUnavailable, "datasets",
       std::string("this build has no ") + what + ": configure with PLAIT_WITH_MEDIA=ON");
}
}  // namespace

struct EmojiFont::State {};
EmojiFont::EmojiFont(const std::string&) { missing("HarfBuzz"); }
EmojiFont::~EmojiFont() = default;
std::string EmojiFont::png(const std::string&) const { missing("HarfBuzz"); }

void parse_xml(const std::string&, const std::string&, const XmlEvents&) { missing("expat"); }

}  // namespace plait::data
