#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace plait::data {

enum class DicomCodec { kJpeg, kJpegLs, kJpeg2000 };

/// One compressed frame whose header was read and agrees with these fields. No torch in this
/// header.
struct CompressedFrame {
  DicomCodec codec = DicomCodec::kJpeg;
  std::string_view bytes;
  int64_t width = 0;
  int64_t height = 0;
  int samples = 1;           ///< Per pixel: 1 or 3.
  int precision = 8;         ///< Bits of a sample in the compressed stream, 2 to 16.
  bool is_signed = false;    ///< As the compressed stream says.
  bool luma_chroma = false;  ///< JPEG: samples are YCbCr and stay so; otherwise as they are stored.
  bool lossless = false;     ///< JPEG process 14.
};

/// Whether this build can decode JPEG, JPEG-LS and JPEG 2000 in DICOM files.
bool dicom_codecs_available();

/// Samples as [height, width, samples], or [samples, height, width] for a JPEG-LS stream without
/// interleaving; one byte each for a precision up to 8, otherwise two in the machine's order.
/// @throws Error kCorruptData, kUnavailable; messages start with `name`.
std::vector<uint8_t> decode_compressed(const CompressedFrame& frame, const std::string& name);

}  // namespace plait::data
