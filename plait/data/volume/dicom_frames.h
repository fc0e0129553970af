#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "plait/data/volume/dicom_elements.h"

namespace plait::data {

enum class SampleType { kUint8, kInt8, kUint16, kInt16, kUint32, kInt32, kFloat, kDouble };
size_t size_of(SampleType type);

/// What the image pixel module says, checked.
struct PixelLayout {
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t frames = 1;
  int samples = 1;         ///< 1, 3 or 4
  int bits_allocated = 8;  ///< 1, 8, 16, 32 or 64
  int bits_stored = 8;
  bool is_signed = false;
  bool planar = false;  ///< Samples of a frame lie plane by plane.
  std::string photometric;
  SampleType type = SampleType::kUint8;
  int64_t frame_samples() const { return rows * columns * samples; }
};

/// @throws Error kCorruptData for a missing or absurd field, kResourceLimit when all frames
/// together exceed `max_bytes`.
PixelLayout read_layout(const DicomFile& file, size_t max_bytes, const std::string& name);

/// Decodes frame after frame, in order: `take(index, bytes)` gets [rows, columns, samples] of
/// layout.type in the machine's byte order, in the colour space of the file except that subsampling
/// is undone. Bits above those stored are cleared or repeat the sign. @throws Error kCorruptData,
/// kUnavailable.
void decode_frames(const DicomFile& file, const PixelLayout& layout, const std::string& name,
                   const std::function<void(int64_t, std::vector<uint8_t>)>& take);

}  // namespace plait::data
