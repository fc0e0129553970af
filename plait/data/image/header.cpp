#include "plait/data/image/header.h"

#include <optional>

#include "plait/core/error.h"

namespace plait::data {
namespace {

/// Bounded reads; `big` is the byte order.
class Reader {
 public:
  Reader(std::string_view bytes, const std::string& name, const char* format, bool big)
      : bytes_(bytes), name_(name), format_(format), big_(big) {}

  size_t size() const { return bytes_.size(); }
  bool has(size_t at, size_t count) const {
    return at <= bytes_.size() && count <= bytes_.size() - at;
  }
  std::string_view view(size_t at, size_t count) const {
    if (!has(at, count)) damaged("more bytes than the file's " + std::to_string(bytes_.size()));
    return bytes_.substr(at, count);
  }
  uint32_t u8(size_t at) const { return static_cast<uint8_t>(view(at, 1)[0]); }
  uint32_t u16(size_t at) const {
    view(at, 2);
    return big_ ? u8(at) << 8 | u8(at + 1) : u8(at) | u8(at + 1) << 8;
  }
  uint32_t u24(size_t at) const {
    return big_ ? u16(at) << 8 | u8(at + 2) : u16(at) | u8(at + 2) << 16;
  }
  uint32_t u32(size_t at) const {
    return big_ ? u16(at) << 16 | u16(at + 2) : u16(at) | u16(at + 2) << 16;
  }
  [[noreturn]] void damaged(const std::string& what) const {
    fail(ErrorCode::kCorruptData, "image",
         name_ + ": expected a whole " + format_ + " header, got " + what);
  }

 private:
  std::string_view bytes_;
  const std::string& name_;
  const char* format_;
  bool big_;
};

struct TiffTags {
  int64_t width = 0;
  int64_t height = 0;
  int orientation = 1;
};

/// The first directory of a TIFF structure, which EXIF blocks share. Classic TIFF only: BigTIFF is
/// for slides.
std::optional<TiffTags> read_tiff_tags(std::string_view bytes, const std::string& name) {
  if (bytes.size() < 8) return std::nullopt;
  bool big = bytes.substr(0, 2) == "MM";
  if (!big && bytes.substr(0, 2) != "II") return std::nullopt;
  Reader r(bytes, name, "TIFF", big);
  if (r.u16(2) != 42) return std::nullopt;
  size_t directory = r.u32(4);
  if (!r.has(directory, 2)) return std::nullopt;
  size_t count = r.u16(directory);
  if (!r.has(directory + 2, count * 12)) return std::nullopt;
  TiffTags tags;
  for (size_t i = 0; i < count; ++i) {
    size_t entry = directory + 2 + i * 12;
    uint32_t type = r.u16(entry + 2);
    if (r.u32(entry + 4) != 1 || (type != 1 && type != 3 && type != 4)) continue;
    uint32_t value = type == 1 ? r.u8(entry + 8) : type == 3 ? r.u16(entry + 8) : r.u32(entry + 8);
    switch (r.u16(entry)) {
      case 0x100: tags.width = value; break;
      case 0x101: tags.height = value; break;
      case 0x112: tags.orientation = value >= 1 && value <= 8 ? static_cast<int>(value) : 1; break;
      default: break;
    }
  }
  return tags;
}

/// A damaged EXIF block does not make a good picture unreadable.
int exif_orientation(std::string_view exif, const std::string& name) {
  if (exif.substr(0, 6) == std::string_view("Exif\0\0", 6)) exif.remove_prefix(6);
  auto tags = read_tiff_tags(exif, name);
  return tags ? tags->orientation : 1;
}

ImageInfo read_png(std::string_view bytes, const std::string& name) {
  Reader r(bytes, name, "PNG", true);
  if (r.u32(8) != 13 || r.view(12, 4) != "IHDR") r.damaged("another chunk before IHDR");
  ImageInfo info{ImageFormat::kPng, r.u32(16), r.u32(20)};
  for (size_t at = 33; r.has(at, 12);) {
    size_t length = r.u32(at);
    std::string_view type = r.view(at + 4, 4);
    if (type == "IDAT" || type == "IEND" || !r.has(at + 8, length)) break;
    if (type == "eXIf") info.orientation = exif_orientation(r.view(at + 8, length), name);
    at += 12 + length;
  }
  return info;
}

ImageInfo read_jpeg(std::string_view bytes, const std::string& name) {
  Reader r(bytes, name, "JPEG", true);
  ImageInfo info{ImageFormat::kJpeg, 0, 0};
  for (size_t at = 2;;) {
    if (r.u8(at) != 0xFF) r.damaged("no marker at byte " + std::to_string(at));
    while (r.u8(at) == 0xFF) ++at;
    uint32_t marker = r.u8(at++);
    if (marker == 0x01 || (marker >= 0xD0 && marker <= 0xD8)) continue;
    if (marker == 0xD9 || marker == 0xDA) r.damaged("image data before a frame header");
    size_t length = r.u16(at);
    if (length < 2) r.damaged("a segment shorter than its own length");
    std::string_view segment = r.view(at, length).substr(2);
    bool frame =
        marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
    if (frame) {
      if (segment.size() < 6)
        r.damaged("a frame header of " + std::to_string(segment.size()) + " bytes");
      info.height = r.u16(at + 3);
      info.width = r.u16(at + 5);
      return info;
    }
    if (marker == 0xE1 && segment.substr(0, 6) == std::string_view("Exif\0\0", 6)) {
      info.orientation = exif_orientation(segment, name);
    }
    at += length;
  }
}

ImageInfo read_webp(std::string_view bytes, const std::string& name) {
  Reader r(bytes, name, "WebP", false);
  ImageInfo info{ImageFormat::kWebp, 0, 0};
  std::string_view kind = r.view(12, 4);
  if (kind == "VP8 ") {
    if (r.view(23, 3) != "\x9d\x01\x2a") r.damaged("no VP8 start code");
    info.width = r.u16(26) & 0x3FFF;
    info.height = r.u16(28) & 0x3FFF;
  } else if (kind == "VP8L") {
    if (r.u8(20) != 0x2F) r.damaged("no VP8L signature");
    uint32_t bits = r.u32(21);
    info.width = (bits & 0x3FFF) + 1;
    info.height = (bits >> 14 & 0x3FFF) + 1;
  } else if (kind == "VP8X") {
    info.width = r.u24(24) + 1;
    info.height = r.u24(27) + 1;
    for (size_t at = 12; r.has(at, 8);) {
      size_t length = r.u32(at + 4);
      if (!r.has(at + 8, length)) break;
      if (r.view(at, 4) == "EXIF")
        info.orientation = exif_orientation(r.view(at + 8, length), name);
      at += 8 + length + (length & 1);
    }
  } else {
    r.damaged("an unknown first chunk");
  }
  return info;
}

ImageInfo read_tiff(std::string_view bytes, const std::string& name) {
  auto tags = read_tiff_tags(bytes, name);
  if (!tags) Reader(bytes, name, "TIFF", false).damaged("no directory inside the file");
  return {ImageFormat::kTiff, tags->width, tags->height, tags->orientation};
}

ImageInfo read_bmp(std::string_view bytes, const std::string& name) {
  Reader r(bytes, name, "BMP", false);
  uint32_t header = r.u32(14);
  if (header == 12) return {ImageFormat::kBmp, r.u16(18), r.u16(20)};
  if (header < 40) r.damaged("an information header of " + std::to_string(header) + " bytes");
  // A negative height marks rows from top to bottom.
  int64_t height = static_cast<int32_t>(r.u32(22));
  return {ImageFormat::kBmp, static_cast<int32_t>(r.u32(18)), height < 0 ? -height : height};
}

}  // namespace

ImageInfo read_image_info(std::string_view bytes, const std::string& name) {
  auto starts = [&](std::string_view magic) { return bytes.substr(0, magic.size()) == magic; };
  ImageInfo info;
  if (starts("\x89PNG\r\n\x1a\n")) {
    info = read_png(bytes, name);
  } else if (starts("\xff\xd8\xff")) {
    info = read_jpeg(bytes, name);
  } else if (starts("RIFF") && bytes.size() >= 16 && bytes.substr(8, 4) == "WEBP") {
    info = read_webp(bytes, name);
  } else if (starts(std::string_view("II*\0", 4)) || starts(std::string_view("MM\0*", 4))) {
    info = read_tiff(bytes, name);
  } else if (starts("BM")) {
    info = read_bmp(bytes, name);
  } else {
    fail(ErrorCode::kCorruptData, "image",
         name + ": expected a PNG, JPEG, WebP, TIFF or BMP picture, got " +
             (bytes.empty() ? "an empty file" : "bytes of another format"));
  }
  if (info.width <= 0 || info.height <= 0) {
    fail(ErrorCode::kCorruptData, "image",
         name + ": expected a positive size in the " + to_string(info.format) + " header, got " +
             std::to_string(info.width) + " x " + std::to_string(info.height));
  }
  return info;
}

bool jpeg_is_whole(std::string_view bytes) {
  auto u8 = [&](size_t i) { return static_cast<uint8_t>(bytes[i]); };
  size_t at = 2;
  while (at + 1 < bytes.size()) {
    if (u8(at) != 0xFF) {
      at = bytes.find('\xff', at);  // Entropy-coded data, up to the next marker.
      if (at == std::string_view::npos) return false;
      continue;
    }
    uint8_t marker = u8(at + 1);
    if (marker == 0xD9) return true;
    if (marker == 0xFF) {
      at += 1;
    } else if (marker <= 0x01 || (marker >= 0xD0 && marker <= 0xD8)) {
      at += 2;
    } else {
      if (at + 3 >= bytes.size()) return false;
      at += 2 + (size_t{u8(at + 2)} << 8 | u8(at + 3));
    }
  }
  return false;
}

std::string png_pixels_only(std::string_view bytes) {
  std::string name;
  Reader r(bytes, name, "PNG", true);
  std::string out(bytes.substr(0, 8));
  for (size_t at = 8; r.has(at, 12);) {
    size_t length = r.u32(at);
    std::string_view type = r.view(at + 4, 4);
    if (!r.has(at, length + 12)) break;
    for (std::string_view kept : {"IHDR", "PLTE", "tRNS", "IDAT", "IEND"}) {
      if (type == kept) out.append(r.view(at, length + 12));
    }
    if (type == "IEND") return out;
    at += length + 12;
  }
  return {};
}

std::string to_string(ImageFormat format) {
  constexpr const char* kNames[] = {"PNG", "JPEG", "WebP", "TIFF", "BMP"};
  return kNames[static_cast<int>(format)];
}

}  // namespace plait::data
