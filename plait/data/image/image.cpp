#include "plait/data/image/image.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "plait/core/error.h"
#include "plait/core/file.h"
#include "plait/core/tensor_map.h"
#include "plait/data/image/codec.h"
#include "plait/data/image/header.h"

namespace plait::data {
namespace {

constexpr size_t kMaxFileBytes = size_t{1} << 30;

/// [H, W, C] turned as EXIF orientation 1 to 8 asks.
at::Tensor apply_orientation(const at::Tensor& image, int orientation) {
  switch (orientation) {
    case 2: return image.flip({1});
    case 3: return image.flip({0, 1});
    case 4: return image.flip({0});
    case 5: return image.transpose(0, 1).contiguous();
    case 6: return image.transpose(0, 1).flip({1});
    case 7: return image.transpose(0, 1).flip({0, 1});
    case 8: return image.transpose(0, 1).flip({0});
    default: return image;
  }
}

/// uint8 [H, W, 4] over a colour, rounded to nearest.
at::Tensor composite(const at::Tensor& rgba, const std::array<uint8_t, 3>& background) {
  at::Tensor out = at::empty({rgba.size(0), rgba.size(1), 3}, at::kByte);
  const uint8_t* from = rgba.const_data_ptr<uint8_t>();
  uint8_t* to = out.mutable_data_ptr<uint8_t>();
  for (int64_t i = 0, n = rgba.size(0) * rgba.size(1); i < n; ++i) {
    uint32_t alpha = from[4 * i + 3];
    for (int c = 0; c < 3; ++c) {
      to[3 * i + c] = static_cast<uint8_t>(
          (from[4 * i + c] * alpha + background[c] * (255 - alpha) + 127) / 255);
    }
  }
  return out;
}

at::Tensor checked_image(const at::Tensor& image) {
  if (image.dim() != 3 || image.size(2) != 3 || image.scalar_type() != at::kByte ||
      image.numel() == 0) {
    fail(ErrorCode::kInvalidArgument, "image", "expected uint8 [H, W, 3], got " + describe(image));
  }
  return image.contiguous();
}

}  // namespace

at::Tensor decode_image(std::string_view bytes, const std::string& name,
                        const ImageOptions& options) {
  ImageInfo info = read_image_info(bytes, name);
  if (info.height > options.max_pixels / info.width) {
    fail(ErrorCode::kResourceLimit, "image",
         name + ": expected a picture of at most " + std::to_string(options.max_pixels) +
             " pixels, got " + std::to_string(info.width) + " x " + std::to_string(info.height));
  }
  if (bytes.size() > kMaxFileBytes) {
    fail(ErrorCode::kResourceLimit, "image",
         name + ": expected a picture file of at most 1 GiB, got " + std::to_string(bytes.size()) +
             " bytes");
  }
  if (info.format == ImageFormat::kJpeg && !jpeg_is_whole(bytes)) {
    fail(ErrorCode::kCorruptData, "image",
         name + ": expected a whole JPEG picture, got a truncated one");
  }
  bool png = info.format == ImageFormat::kPng;
  RawImage raw = png ? decode_pixels(png_pixels_only(bytes), name) : decode_pixels(bytes, name);
  // OpenCV turns TIFF pictures by itself, whatever the flags say.
  bool turned = info.format == ImageFormat::kTiff;
  if (turned && info.orientation >= 5) std::swap(info.width, info.height);
  if (raw.width != info.width || raw.height != info.height) {
    fail(ErrorCode::kCorruptData, "image",
         name + ": expected the size that the header says, got another one");
  }
  at::Tensor pixels =
      at::from_blob(raw.pixels.data(), {raw.height, raw.width, raw.channels}, at::kByte);
  at::Tensor rgb = raw.channels == 4   ? composite(pixels, options.background)
                   : raw.channels == 1 ? pixels.expand({-1, -1, 3}).contiguous()
                                       : pixels.clone();
  return turned ? rgb : apply_orientation(rgb, info.orientation);
}

at::Tensor load_image(const std::string& path, const ImageOptions& options) {
  return decode_image(read_file(path, kMaxFileBytes), path, options);
}

at::Tensor to_rgb(const at::Tensor& image, const std::string& where) {
  auto wrong = [&]() {
    fail(ErrorCode::kInvalidArgument, "image",
         where + ": expected a picture as uint8 [H, W, 1, 3 or 4] or float [1 or 3, H, W], got " +
             (image.defined() ? describe(image) : "an undefined tensor"));
  };
  if (!image.defined() || image.numel() == 0 || image.dim() < 2 || image.dim() > 3) wrong();
  at::Tensor cpu = image.detach().cpu();
  if (cpu.scalar_type() == at::kByte) {
    if (cpu.dim() == 2) cpu = cpu.unsqueeze(2);
    int64_t channels = cpu.size(2);
    if (channels == 1) return cpu.expand({-1, -1, 3}).contiguous();
    if (channels == 3) return cpu.contiguous();
    if (channels == 4) return composite(cpu.contiguous(), ImageOptions{}.background);
    wrong();
  }
  if (!at::isFloatingType(cpu.scalar_type())) wrong();
  if (cpu.dim() == 2) cpu = cpu.unsqueeze(0);
  if (cpu.size(0) != 1 && cpu.size(0) != 3) wrong();
  cpu = cpu.to(at::kFloat);
  float low = cpu.min().item<float>();
  float high = cpu.max().item<float>();
  // Written so that NaN fails too; a little overshoot comes from interpolation.
  if (!(low >= -0.01f && high <= 1.01f)) {
    fail(ErrorCode::kInvalidArgument, "image",
         where + ": expected float pixels in [0, 1], got values outside or NaN");
  }
  at::Tensor bytes = (cpu * 255).round_().clamp_(0, 255).to(at::kByte).permute({1, 2, 0});
  return bytes.expand({-1, -1, 3}).contiguous();
}

std::string encode_png(const at::Tensor& image) {
  at::Tensor rgb = to_rgb(image, "encode_png");
  return encode_pixels(rgb.const_data_ptr<uint8_t>(), rgb.size(1), rgb.size(0), ".png", 0);
}

std::string encode_jpeg(const at::Tensor& image, int quality) {
  require(quality >= 1 && quality <= 100, "image", "expected a JPEG quality from 1 to 100");
  at::Tensor rgb = to_rgb(image, "encode_jpeg");
  return encode_pixels(rgb.const_data_ptr<uint8_t>(), rgb.size(1), rgb.size(0), ".jpg", quality);
}

at::Tensor center_crop(const at::Tensor& image, int64_t height, int64_t width) {
  at::Tensor source = checked_image(image);
  int64_t top = (source.size(0) - height) / 2;
  int64_t left = (source.size(1) - width) / 2;
  if (top >= 0 && left >= 0 && source.size(0) >= height && source.size(1) >= width) {
    return source.slice(0, top, top + height).slice(1, left, left + width).contiguous();
  }
  // transformers pads around the middle first, rounding the padding up, and crops from there.
  int64_t padded_height = std::max(height, source.size(0));
  int64_t padded_width = std::max(width, source.size(1));
  int64_t pad_top = (padded_height - source.size(0) + 1) / 2;
  int64_t pad_left = (padded_width - source.size(1) + 1) / 2;
  at::Tensor padded = at::zeros({padded_height, padded_width, 3}, at::kByte);
  padded.slice(0, pad_top, pad_top + source.size(0))
      .slice(1, pad_left, pad_left + source.size(1))
      .copy_(source);
  auto floor_half = [](int64_t x) { return x >= 0 ? x / 2 : -((1 - x) / 2); };
  int64_t crop_top = floor_half(source.size(0) - height) + pad_top;
  int64_t crop_left = floor_half(source.size(1) - width) + pad_left;
  return padded.slice(0, crop_top, crop_top + height)
      .slice(1, crop_left, crop_left + width)
      .contiguous();
}

}  // namespace plait::data
