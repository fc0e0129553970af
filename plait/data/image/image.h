#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace plait::data {

/// How pictures are decoded.
struct ImageOptions {
  int64_t max_pixels = int64_t{64} << 20;  ///< Checked in the header, before anything is decoded.
  std::array<uint8_t, 3> background = {255, 255, 255};  ///< What shows through transparent pixels.
};

/// PNG, JPEG, WebP, TIFF (first page) or BMP bytes → uint8 RGB [H, W, 3]. Grey is repeated, 16-bit
/// and float pictures are scaled to 8 bits, alpha is composited over `background`, the EXIF
/// orientation is applied. Thread-safe.
/// @throws Error kCorruptData for what is not a whole picture, kResourceLimit above `max_pixels`;
/// both start with `name`.
at::Tensor decode_image(std::string_view bytes, const std::string& name,
                        const ImageOptions& options = {});

/// The same for a file of at most 1 GiB.
at::Tensor load_image(const std::string& path, const ImageOptions& options = {});

/// A picture as users hand it over, as uint8 RGB [H, W, 3]: uint8 [H, W], [H, W, 1], [H, W, 3] or
/// [H, W, 4] (alpha over white), or float [C, H, W] in [0, 1] with 1 or 3 channels. @throws Error
/// that names `where`.
at::Tensor to_rgb(const at::Tensor& image, const std::string& where);

/// Encoded files from uint8 [H, W, 3] (or what to_rgb takes).
std::string encode_png(const at::Tensor& image);
std::string encode_jpeg(const at::Tensor& image, int quality = 90);

/// Filters with Pillow's numbers.
enum class Resample { kNearest = 0, kLanczos = 1, kBilinear = 2, kBicubic = 3 };
/// @throws Error kInvalidArgument that lists the names nearest, lanczos, bilinear, bicubic.
Resample resample_from_string(const std::string& name);
std::string to_string(Resample resample);

/// uint8 [H, W, 3] → uint8 [height, width, 3], as Pillow's Image.resize does: filters widen with
/// the scale when shrinking (antialiased). Equal to Pillow 13 byte for byte; older ones differ by
/// rounding where they take rows and columns in the other order.
at::Tensor resize_image(const at::Tensor& image, int64_t height, int64_t width, Resample resample);

/// The middle of [H, W, 3]; a picture that is smaller is padded with zeros, as transformers does.
at::Tensor center_crop(const at::Tensor& image, int64_t height, int64_t width);

}  // namespace plait::data
