#include "plait/core/error.h"
#include "plait/data/image/text_boxes.h"

namespace plait::data {
namespace {

[[noreturn]] void refuse() {
  fail(ErrorCode::kUnavailable, "text_boxes",
       "expected a build with PLAIT_WITH_MEDIA=ON to read text in pictures, got one without");
}

}  // namespace

std::vector<Quad> find_text_boxes(const float*, int64_t, int64_t, int64_t, int64_t,
                                  const TextBoxOptions&) {
  refuse();
}
RawImage resize_pixels(const RawImage&, int64_t, int64_t) { refuse(); }
RawImage crop_quad(const RawImage&, const Quad&) { refuse(); }
RawImage rotate_half(const RawImage&) { refuse(); }
RawImage pad_rows(const RawImage&, int64_t) { refuse(); }
void draw_quads(RawImage&, const std::vector<Quad>&, const std::vector<std::string>&) { refuse(); }

}  // namespace plait::data
