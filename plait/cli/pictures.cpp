#include "plait/cli/pictures.h"

#include "plait/core/file.h"
#include "plait/data/decode.h"

namespace plait::cli {

void draw_quads(const std::string& picture, const std::vector<data::Quad>& quads,
                const std::vector<std::string>& labels, const std::string& output) {
  at::Tensor rgb = data::decode_image_value(Path{picture}, "image").contiguous();
  const auto* bytes = rgb.const_data_ptr<uint8_t>();
  data::RawImage canvas{rgb.size(1), rgb.size(0), 3, {bytes, bytes + rgb.numel()}};
  data::draw_quads(canvas, quads, labels);
  write_file_atomic(
      output, data::encode_pixels(canvas.pixels.data(), canvas.width, canvas.height, ".png", 0));
}

}  // namespace plait::cli
