#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "plait/data/volume/codec.h"

namespace plait::data {

/// What the header of a JPEG, JPEG-LS or JPEG 2000 stream says. Decoders are only called for
/// streams whose header was read here and fits the file.
struct FrameHeader {
  DicomCodec codec = DicomCodec::kJpeg;
  size_t begin = 0;  ///< Where the stream begins (after the boxes of a JP2 file).
  int64_t width = 0;
  int64_t height = 0;
  int samples = 0;
  int precision = 0;
  bool is_signed = false;
  bool lossless = false;
  bool rgb = false;     ///< A JPEG stream marked as RGB by its writer.
  bool planar = false;  ///< A JPEG-LS stream with one scan per component.
};

/// @throws Error kCorruptData that starts with `name` for anything else, a truncated header, more
/// than 16 bits or subsampled JPEG 2000 components.
FrameHeader read_frame_header(std::string_view bytes, const std::string& name);

}  // namespace plait::data
