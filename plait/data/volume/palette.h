#pragma once
#include <string>

#include "plait/data/volume/dicom.h"
#include "plait/data/volume/dicom_elements.h"

namespace plait::data {

/// Fills `image` with the palette of a PALETTE COLOR image (plain or segmented, PS3.3 C.7.9) and
/// the look-up tables of the modality and of the values of interest, where there are any. @throws
/// Error kCorruptData.
void read_palette(const DicomElements& elements, const std::string& photometric,
                  const std::string& name, DicomImage& image);

}  // namespace plait::data
