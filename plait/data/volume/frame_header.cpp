#include "plait/data/volume/frame_header.h"

#include <algorithm>
#include <vector>

#include "plait/core/error.h"

namespace plait::data {
namespace {

[[noreturn]] void damaged(const std::string& name, const char* what) {
  fail(ErrorCode::kCorruptData, "dicom",
       name + ": expected a JPEG, JPEG-LS or JPEG 2000 frame, got " + std::string(what));
}

/// Big-endian numbers that may lie beyond the end.
class Reader {
 public:
  Reader(std::string_view bytes, const std::string& name) : bytes_(bytes), name_(name) {}
  uint32_t number(size_t at, size_t count) const {
    if (at > bytes_.size() || bytes_.size() - at < count) damaged(name_, "a truncated header");
    uint32_t out = 0;
    for (size_t i = 0; i < count; ++i) out = out << 8 | static_cast<uint8_t>(bytes_[at + i]);
    return out;
  }

 private:
  std::string_view bytes_;
  const std::string& name_;
};

FrameHeader jpeg_header(std::string_view bytes, const std::string& name) {
  Reader in(bytes, name);
  FrameHeader h;
  bool jfif = false, adobe_rgb = false;
  std::vector<uint32_t> ids;
  for (size_t at = 2;;) {
    uint32_t marker = in.number(at, 2);
    if (marker == 0xFFFF) {  // A fill byte.
      ++at;
      continue;
    }
    if (marker < 0xFF01 || marker == 0xFFD9) damaged(name, "a stream without a frame header");
    if (marker == 0xFFDA) {
      if (h.width == 0) damaged(name, "a stream without a frame header");
      // The interleave mode stands behind the components of the scan.
      uint32_t components = in.number(at + 4, 1);
      if (components < 1 || components > 4) damaged(name, "a damaged scan header");
      // GDCM asserts what is checked here: a scan names components of the frame.
      for (size_t c = 0; c < components; ++c) {
        if (std::count(ids.begin(), ids.end(), in.number(at + 5 + 2 * c, 1)) != 1)
          damaged(name, "a scan of components that the frame does not have");
      }
      h.rgb = h.samples == 3 && !jfif && (adobe_rgb || h.rgb);
      h.planar = h.codec == DicomCodec::kJpegLs && h.samples > 1 &&
                 in.number(at + 6 + 2 * components, 1) == 0;
      return h;
    }
    uint32_t length = in.number(at + 2, 2);
    if (length < 2) damaged(name, "a damaged header");
    bool dct = (marker >= 0xFFC0 && marker <= 0xFFC2);
    bool lossless = marker == 0xFFC3;
    bool ls = marker == 0xFFF7;
    if (dct || lossless || ls) {
      if (h.width != 0) damaged(name, "two frame headers");
      h.codec = ls ? DicomCodec::kJpegLs : DicomCodec::kJpeg;
      h.lossless = lossless;
      h.precision = static_cast<int>(in.number(at + 4, 1));
      h.height = in.number(at + 5, 2);
      h.width = in.number(at + 7, 2);
      h.samples = static_cast<int>(in.number(at + 9, 1));
      bool bits =
          dct ? h.precision == 8 || h.precision == 12 : h.precision >= 2 && h.precision <= 16;
      if (h.width == 0 || h.height == 0 || !bits || (h.samples != 1 && h.samples != 3))
        damaged(name, "a damaged frame header");
      for (int c = 0; c < h.samples; ++c) {
        size_t component = at + 10 + 3 * static_cast<size_t>(c);
        ids.push_back(in.number(component, 1));
        uint32_t factors = in.number(component + 1, 1);
        if (factors >> 4 < 1 || factors >> 4 > 4 || (factors & 15) < 1 || (factors & 15) > 4)
          damaged(name, "a damaged frame header");
      }
      h.rgb = h.samples == 3 && in.number(at + 10, 1) == 'R' && in.number(at + 13, 1) == 'G' &&
              in.number(at + 16, 1) == 'B';
    } else if (marker == 0xFFE0 && length >= 7) {
      jfif = jfif || in.number(at + 4, 4) == 0x4A464946;
      // GDCM asserts that it knows the unit of the density.
      if (length >= 14 && in.number(at + 11, 1) > 2) damaged(name, "a damaged JFIF header");
    } else if (marker == 0xFFEE && length >= 14 && in.number(at + 4, 4) == 0x41646F62) {
      adobe_rgb = in.number(at + 15, 1) == 0;
    } else if (marker >= 0xFFC5 && marker <= 0xFFCF && marker != 0xFFC8 && marker != 0xFFCC) {
      damaged(name, "a hierarchical or arithmetic-coded stream");
    }
    at += 2 + length;
  }
}

FrameHeader jpeg2000_header(std::string_view bytes, size_t begin, const std::string& name) {
  Reader in(bytes.substr(begin), name);
  FrameHeader h;
  h.codec = DicomCodec::kJpeg2000;
  h.begin = begin;
  uint32_t x1 = in.number(8, 4), y1 = in.number(12, 4), x0 = in.number(16, 4),
           y0 = in.number(20, 4);
  uint32_t tile_width = in.number(24, 4), tile_height = in.number(28, 4);
  uint32_t samples = in.number(40, 2);
  if (x1 <= x0 || y1 <= y0 || tile_width == 0 || tile_height == 0 || samples < 1 || samples > 4)
    damaged(name, "a damaged JPEG 2000 header");
  h.width = x1 - x0;
  h.height = y1 - y0;
  if (h.width > 65535 || h.height > 65535) damaged(name, "a damaged JPEG 2000 header");
  h.samples = static_cast<int>(samples);
  for (size_t c = 0; c < samples; ++c) {
    uint32_t depth = in.number(42 + 3 * c, 1);
    int precision = static_cast<int>(depth & 0x7F) + 1;
    bool is_signed = (depth & 0x80) != 0;
    if (c == 0) {
      h.precision = precision;
      h.is_signed = is_signed;
    }
    if (precision != h.precision || is_signed != h.is_signed || in.number(43 + 3 * c, 2) != 0x0101)
      damaged(name, "JPEG 2000 components that differ in depth or size");
  }
  if (h.precision > 16) damaged(name, "more than 16 bits");
  return h;
}

}  // namespace

FrameHeader read_frame_header(std::string_view bytes, const std::string& name) {
  if (bytes.substr(0, 2) == "\xFF\xD8") return jpeg_header(bytes, name);
  constexpr std::string_view kStream("\xFF\x4F\xFF\x51");
  size_t begin = bytes.substr(0, 4096).find(kStream);
  if (begin == std::string_view::npos) damaged(name, "bytes of another format");
  return jpeg2000_header(bytes, begin, name);
}

}  // namespace plait::data
