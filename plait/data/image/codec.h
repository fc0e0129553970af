#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace plait::data {

/// Decoded pixels as the codec gave them, rows from top to bottom, no orientation applied. No torch
/// in this header.
struct RawImage {
  int64_t width = 0;
  int64_t height = 0;
  int channels = 0;  ///< 1 grey, 3 RGB, 4 RGBA
  std::vector<uint8_t>
      pixels;  ///< [height, width, channels]; 16-bit and float pictures are scaled to 8 bits
};

/// Whether this build can decode pictures.
bool image_codecs_available();

/// Decodes a whole file whose header was checked already. @throws Error kCorruptData, kUnavailable;
/// messages start with `name`.
RawImage decode_pixels(std::string_view bytes, const std::string& name);

/// `extension` ".png" or ".jpg"; `quality` is JPEG's, 1 to 100. `rgb` holds [height, width, 3].
std::string encode_pixels(const uint8_t* rgb, int64_t width, int64_t height,
                          const std::string& extension, int quality);

}  // namespace plait::data
