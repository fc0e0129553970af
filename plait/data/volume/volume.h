#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <string>
#include <vector>

#include "plait/core/sample.h"
#include "plait/data/volume/dicom.h"

namespace plait::data {

/// A block of values in space.
struct Volume {
  at::Tensor values;  ///< float32 [D, H, W] in units of the modality (HU for CT)
  std::array<double, 3> spacing = {1, 1, 1};  ///< mm between slices, rows, columns
  std::array<double, 3> origin = {0, 0, 0};   ///< mm, the centre of the first voxel
  /// Directions (patient coordinates) of a step along W, along H, along D.
  std::array<double, 9> axes = {1, 0, 0, 0, 1, 0, 0, 0, 1};
  bool has_spacing = false;  ///< false: nothing in the source told the spacing, it is taken as 1 mm
  DicomTags tags;            ///< Of the first slice; empty for a bare tensor.
};

struct VolumeOptions {
  size_t max_bytes = size_t{2} << 30;  ///< Of the float values.
  size_t max_files = 4096;
  /// Slices may be this far from even spacing, as a share of it.
  double spacing_tolerance = 0.05;
};

/// One file, one or more frames. Frames in space are sorted along their normal; frames without a
/// position keep their order. Colour is refused.
Volume decode_volume(std::string_view bytes, const std::string& name,
                     const VolumeOptions& options = {});

/// The slices of one series, in any order: sorted by position along the normal. @throws Error
/// kInvalidArgument for mixed series, sizes, orientations or spacings, a missing slice or two
/// slices at one place; the message names the file.
Volume load_volume(const std::vector<std::string>& paths, const VolumeOptions& options = {});

/// A file, or a folder whose files are one series (files that are not DICOM are an error, hidden
/// ones are passed over).
Volume load_volume(const std::string& path, const VolumeOptions& options = {});

/// Any value of a volume stream: a path or folder, a JSON list of paths, the bytes of one file, or
/// a tensor [D, H, W] (spacing unknown).
Volume decode_volume_value(const Value& value, const std::string& where,
                           const VolumeOptions& options = {});

}  // namespace plait::data
