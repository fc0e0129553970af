#pragma once
#include <string>
#include <vector>

#include "plait/data/datasets/datasets.h"
#include "plait/data/datasets/manifest.h"

/// What the adapters share; not for users.
namespace plait::data {

/// A data set and how it is made: `prepare` fills the empty folder `dir` with files and gives the
/// items.
struct DatasetAdapter {
  DatasetInfo info;
  int revision = 1;  ///< Part of the cache key: raised when `prepare` changes what it makes.
  std::vector<ManifestItem> (*prepare)(const DatasetInfo& info, const std::string& dir,
                                       const Progress& progress);
};

DatasetAdapter stamps_dataset();
DatasetAdapter emoji_dataset();
DatasetAdapter openclipart_dataset();
DatasetAdapter everyday_dataset();
DatasetAdapter handwritten_dataset();
DatasetAdapter audio_visual_digits_dataset();
DatasetAdapter basic_motions_dataset();
DatasetAdapter har_dataset();
DatasetAdapter bearing_dataset();
DatasetAdapter bearing_shifted_dataset();

/// One drawing to turn into a PNG of at most `size` × `size` pixels; its sides keep their
/// proportion, its background stays transparent.
struct SvgJob {
  std::string svg;
  std::string png;
  int size = 256;
};

/// Runs rsvg-convert (Debian: librsvg2-bin) for each, a few at a time; false for the drawings that
/// it refuses.
/// @throws Error kUnavailable when it is not installed.
std::vector<bool> render_svgs(const std::vector<SvgJob>& jobs, const std::string& what,
                              const Progress& progress);

}  // namespace plait::data
