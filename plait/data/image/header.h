#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace plait::data {

enum class ImageFormat { kPng, kJpeg, kWebp, kTiff, kBmp };

/// What a picture's header says, before a single pixel is decoded.
struct ImageInfo {
  ImageFormat format = ImageFormat::kPng;
  int64_t width = 0;  ///< Pixels as stored, before the orientation is applied.
  int64_t height = 0;
  int orientation = 1;  ///< EXIF orientation, 1 to 8; 1 when the file does not say.
};

/// Reads the header of a PNG, JPEG, WebP, TIFF or BMP file; never reads outside `bytes`, allocates
/// nothing of the picture's size. @throws Error kCorruptData that starts with `name` when the
/// format is unknown or the header is damaged.
ImageInfo read_image_info(std::string_view bytes, const std::string& name);

/// Whether a JPEG file reaches its end-of-image marker; libjpeg fills what is missing with grey and
/// calls it a picture.
bool jpeg_is_whole(std::string_view bytes);

/// A PNG file without the chunks that do not change its pixels: colour profiles and texts may be
/// compressed bombs, and libpng prints its complaints about them. Empty when a chunk or the end
/// chunk is missing.
std::string png_pixels_only(std::string_view bytes);

std::string to_string(ImageFormat format);

}  // namespace plait::data
