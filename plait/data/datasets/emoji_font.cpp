#include "plait/data/datasets/emoji_font.h"

#include <hb-ot.h>
#include <hb.h>

#include "plait/core/error.h"

namespace plait::data {
namespace {
template <class T, void (*destroy)(T*)>
struct Destroyer {
  void operator()(T* object) const { destroy(object); }
};
using Blob = std::unique_ptr<hb_blob_t, Destroyer<hb_blob_t, hb_blob_destroy>>;
using Face = std::unique_ptr<hb_face_t, Destroyer<hb_face_t, hb_face_destroy>>;
using Font = std::unique_ptr<hb_font_t, Destroyer<hb_font_t, hb_font_destroy>>;
using Buffer = std::unique_ptr<hb_buffer_t, Destroyer<hb_buffer_t, hb_buffer_destroy>>;
}  // namespace

struct EmojiFont::State {
  Font font;
};

EmojiFont::EmojiFont(const std::string& path) : state_(std::make_unique<State>()) {
  Blob blob(hb_blob_create_from_file_or_fail(path.c_str()));
  if (!blob) fail(ErrorCode::kNotFound, "emoji", "cannot open the font " + path);
  Face face(hb_face_create(blob.get(), 0));
  if (!hb_ot_color_has_png(face.get())) {
    fail(ErrorCode::kCorruptData, "emoji", "expected a font with PNG glyphs, got " + path);
  }
  state_->font = Font(hb_font_create(face.get()));
}

EmojiFont::~EmojiFont() = default;

std::string EmojiFont::png(const std::string& sequence) const {
  Buffer buffer(hb_buffer_create());
  hb_buffer_add_utf8(buffer.get(), sequence.data(), static_cast<int>(sequence.size()), 0, -1);
  hb_buffer_guess_segment_properties(buffer.get());
  hb_buffer_set_flags(buffer.get(), HB_BUFFER_FLAG_REMOVE_DEFAULT_IGNORABLES);
  hb_shape(state_->font.get(), buffer.get(), nullptr, 0);
  unsigned int count = 0;
  const hb_glyph_info_t* glyphs = hb_buffer_get_glyph_infos(buffer.get(), &count);
  if (count != 1 || glyphs[0].codepoint == 0) return "";
  Blob png(hb_ot_color_glyph_reference_png(state_->font.get(), glyphs[0].codepoint));
  unsigned int size = 0;
  const char* bytes = hb_blob_get_data(png.get(), &size);
  return {bytes == nullptr ? "" : bytes, bytes == nullptr ? 0 : size};
}

}  // namespace plait::data
