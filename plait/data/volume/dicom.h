#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plait::data {

/// A linear or other window of values of interest (PS3.3 C.11.2).
struct DicomWindow {
  double center = 0;
  double width = 1;
  std::string function = "LINEAR";  ///< LINEAR, LINEAR_EXACT or SIGMOID
};

/// What the pixels mean. Nothing here names a person: that is DicomIdentity's.
struct DicomTags {
  std::string modality;  ///< CT, MR, US ...
  std::string body_part;
  std::string transfer_syntax;  ///< UID
  std::string photometric;      ///< As the file says: MONOCHROME1, PALETTE COLOR, YBR_FULL ...
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t frames = 1;
  int bits_stored = 8;
  std::optional<std::array<double, 2>> pixel_spacing;  ///< mm between rows, between columns
  std::optional<double> slice_thickness;               ///< mm
  std::optional<double> spacing_between_slices;        ///< mm
  std::optional<std::array<double, 6>> orientation;    ///< Directions along a row, along a column
  /// Centre of the first pixel in mm, of each frame where the file says so, otherwise one or none.
  std::vector<std::array<double, 3>> positions;
  double slope = 1;
  double intercept = 0;
  std::string units;  ///< Rescale type: HU, OD ...
  std::vector<DicomWindow> windows;
  std::optional<int64_t> instance_number;
};

/// What identifies the person or the examination; kept apart so that it can be dropped.
struct DicomIdentity {
  std::string patient_name, patient_id, birth_date, accession_number;
  std::string study_uid, series_uid, instance_uid, frame_of_reference_uid;
};

/// A look-up table: `values[clamp(x - first, 0, N - 1)]`.
struct DicomLookup {
  at::Tensor values;  ///< [N] int32, or [N, 3] of a palette; undefined: there is none
  int64_t first = 0;
  int bits = 16;  ///< Of its values
};

struct DicomImage {
  /// Stored values, [F, H, W] or [F, H, W, 3]: uint8, int8, int16, int32 (also for unsigned 16
  /// bits), int64 (unsigned 32 bits), float or double. Colour is RGB unless `keep_colour_space`.
  at::Tensor pixels;
  DicomTags tags;
  DicomIdentity identity;
  DicomLookup palette;   ///< Of a PALETTE COLOR image
  DicomLookup modality;  ///< Stored value → value of the modality
  DicomLookup voi;  ///< Value of the modality → grey (PS3.3 C.11.2.1.1), the file's first one
};

struct DicomOptions {
  size_t max_bytes = size_t{2} << 30;  ///< Of all frames together; checked before decoding.
  bool keep_colour_space = false;      ///< YBR_FULL stays what it is.
};

/// A DICOM file: uncompressed, deflated, RLE, JPEG (also lossless and 12 bits), JPEG-LS, JPEG 2000;
/// one or more frames. Thread-safe. @throws Error kCorruptData for what is not a whole image,
/// kResourceLimit, kUnavailable (a codec that this build lacks); messages start with `name` and
/// repeat nothing of the file's text.
DicomImage decode_dicom(std::string_view bytes, const std::string& name,
                        const DicomOptions& options = {});
DicomImage load_dicom(const std::string& path, const DicomOptions& options = {});

/// Tags alone, no pixel is decoded.
DicomTags read_dicom_tags(std::string_view bytes, const std::string& name);

/// Values of the modality, float32 in the shape of `pixels`: the modality look-up table, or stored
/// value · slope + intercept.
at::Tensor modality_values(const DicomImage& image);

/// Values of the modality → [0, 1] through a window.
at::Tensor apply_window(const at::Tensor& values, const DicomWindow& window);

/// What a viewer shows, uint8 [F, H, W, 3]: the palette, or RGB, or grey through `window` (by
/// default the file's table of values of interest, or its first window, otherwise its range of
/// values) with MONOCHROME1 inverted.
at::Tensor display_pixels(const DicomImage& image,
                          const std::optional<DicomWindow>& window = std::nullopt);

}  // namespace plait::data
